package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// klipperLb forwards one port of its pod, as its environment says: SRC_PORT, SRC_RANGES, DEST_PROTO, DEST_PORT, DEST_IPS (lists with
// commas or spaces). Sources in the ranges are let through, all others meet a DROP for each destination. Then it waits.
func klipperLb(args []string) error {
	sourcePort, protocol, port := os.Getenv("SRC_PORT"), strings.ToLower(os.Getenv("DEST_PROTO")), os.Getenv("DEST_PORT")
	for _, source := range list(os.Getenv("SRC_RANGES")) {
		if err := iptables(source, "-t", "filter", "-I", "FORWARD", "-s", source, "-p", protocol, "--dport", port, "-j", "ACCEPT"); err != nil {
			return err
		}
	}
	for _, ip := range list(os.Getenv("DEST_IPS")) {
		forwarding, destination := "/proc/sys/net/ipv4/ip_forward", ip+":"+port
		if strings.Contains(ip, ":") {
			forwarding, destination = "/proc/sys/net/ipv6/conf/all/forwarding", "["+ip+"]:"+port
		}
		if value, err := os.ReadFile(forwarding); err != nil || strings.TrimSpace(string(value)) != "1" {
			return fmt.Errorf("%s is not 1", forwarding)
		}
		for _, rule := range [][]string{
			{"-t", "filter", "-A", "FORWARD", "-d", ip, "-p", protocol, "--dport", port, "-j", "DROP"},
			{"-t", "nat", "-I", "PREROUTING", "-p", protocol, "--dport", sourcePort, "-j", "DNAT", "--to-destination", destination},
			{"-t", "nat", "-I", "POSTROUTING", "-d", ip, "-p", protocol, "-j", "MASQUERADE"},
		} {
			if err := iptables(ip, rule...); err != nil {
				return err
			}
		}
	}
	return pause(args)
}

func list(text string) []string {
	return strings.FieldsFunc(text, func(char rune) bool { return char == ',' || char == ' ' })
}

// iptables runs the program of the family that an address or a range belongs to.
func iptables(of string, rule ...string) error {
	program := "iptables"
	if strings.Contains(of, ":") {
		program = "ip6tables"
	}
	fmt.Println("+", program, strings.Join(rule, " "))
	if output, err := exec.Command(program, rule...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", program, err, output)
	}
	return nil
}
