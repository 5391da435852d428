#!/bin/sh
# Fetches a release of k3slb for this machine, checks its sum, and installs it as a service:
#   curl -fsSL URL/install.sh | sh -s - agent
# Words after "-" go to `k3slb install`. K3SLB_RELEASE_URL: folder of the release's files (a mirror, or file:///path for none).
set -eu

fail() {
  echo "error: $1" >&2
  echo "  hint: $2" >&2
  exit 1
}

fetch() { # URL FILE
  if command -v curl >/dev/null; then curl -fsSL --retry 3 -o "$2" "$1"
  elif command -v wget >/dev/null; then wget -q -O "$2" "$1"
  else fail "Neither curl nor wget is installed" "Install one of them"
  fi || fail "Cannot fetch $1" "Check the address, the proxy (HTTPS_PROXY) and K3SLB_RELEASE_URL"
}

# All in one function, so that a script that was cut off on its way does nothing.
main() {
  url=${K3SLB_RELEASE_URL:-https://github.com/k3slb/k3slb/releases/latest/download}
  case $(uname -m) in
    x86_64 | amd64) arch=x64 ;;
    aarch64 | arm64) arch=arm64 ;;
    *) fail "There is no release for processor $(uname -m)" "k3slb is made for x86_64 and aarch64" ;;
  esac
  [ "$(uname -s)" = Linux ] || fail "There is no release for $(uname -s)" "k3slb runs on Linux nodes"
  # What programs are linked with; Debian has musl's loader too, as a package.
  case $(ldd --version 2>&1) in *musl*) arch=$arch-musl ;; esac
  command -v xz >/dev/null || fail "xz is not installed" "Install the package xz-utils (xz on Alpine, Fedora)"

  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  fetch "$url/SHA256SUMS" "$work/SHA256SUMS"
  line=$(grep -E "  k3slb-[^ ]*-linux-$arch\.tar\.xz\$" "$work/SHA256SUMS") ||
    fail "The release at $url has no archive for linux-$arch" "Look at $url/SHA256SUMS"
  archive=${line##* }
  fetch "$url/$archive" "$work/$archive"
  (cd "$work" && echo "$line" | sha256sum -c - >/dev/null 2>&1) ||
    fail "$archive is not the file that SHA256SUMS names" "Fetch it again; if it stays so, tell whoever serves $url"
  tar -xJf "$work/$archive" -C "$work"
  "$work/${archive%.tar.xz}/k3slb" install "$@"
}

main "$@"
