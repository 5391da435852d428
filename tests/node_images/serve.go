package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// serve listens on each of `tcp/PORT` and `udp/PORT` and tells whoever asks who answers (variable NAME) and whom it sees: one line of JSON
// for each line or datagram, or a page for an HTTP request. Deleted, it goes on for STOP_AFTER_MS. Without words it is what
// `kubectl create deployment` makes of a web server's image: tcp/80, named as its pod.
func serve(args []string) error {
	name := os.Getenv("NAME")
	if len(args) == 0 {
		args = []string{"tcp/80"}
		name, _ = os.Hostname()
	}
	for _, arg := range args {
		protocol, port, _ := strings.Cut(arg, "/")
		switch protocol {
		case "tcp":
			listener, err := net.Listen("tcp", ":"+port)
			if err != nil {
				return err
			}
			go accept(listener, name)
		case "udp":
			// Each family has a socket of its own, as the kernel then answers from the address that was asked.
			for _, network := range []string{"udp4", "udp6"} {
				socket, err := net.ListenPacket(network, ":"+port)
				if err != nil {
					if network == "udp6" {
						continue // A machine without IPv6.
					}
					return err
				}
				go answer(socket, name)
			}
		default:
			return fmt.Errorf("%q is neither tcp/PORT nor udp/PORT", arg)
		}
	}
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM, syscall.SIGINT)
	<-ended
	stopAfterMs, _ := strconv.Atoi(os.Getenv("STOP_AFTER_MS"))
	time.Sleep(time.Duration(stopAfterMs) * time.Millisecond)
	return nil
}

func accept(listener net.Listener, name string) {
	for {
		connection, err := listener.Accept()
		if err != nil {
			continue
		}
		go converse(connection, name)
	}
}

func converse(connection net.Conn, name string) {
	defer connection.Close()
	greeting := greetingFor(name, connection.RemoteAddr())
	lines := bufio.NewScanner(connection)
	for lines.Scan() {
		if strings.HasSuffix(lines.Text(), " HTTP/1.1") || strings.HasSuffix(lines.Text(), " HTTP/1.0") {
			for lines.Scan() && lines.Text() != "" {
				// The headers say nothing that is needed.
			}
			fmt.Fprintf(connection, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n"+
				"Connection: close\r\n\r\n%s", len(greeting), greeting)
			return
		}
		if _, err := connection.Write(greeting); err != nil {
			return
		}
	}
}

func answer(socket net.PacketConn, name string) {
	buffer := make([]byte, 2048)
	for {
		if _, from, err := socket.ReadFrom(buffer); err == nil {
			_, _ = socket.WriteTo(greetingFor(name, from), from)
		}
	}
}

func greetingFor(name string, from net.Addr) []byte {
	host, port, _ := net.SplitHostPort(from.String())
	number, _ := strconv.Atoi(port)
	text, _ := json.Marshal(map[string]any{"outcome": "answer", "server": name, "peer": host, "peerPort": number})
	return append(text, '\n')
}
