//go:build tools

package upstream

import _ "k8s.io/kubernetes/test/images/agnhost"
