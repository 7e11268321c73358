package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	etcdversion "go.etcd.io/etcd/api/v3/version"
	kubeversion "k8s.io/component-base/version"
	kwokversion "sigs.k8s.io/kwok/pkg/consts"
)

const usage = `plumb-kube is a Kubernetes control plane in one program: etcd, API server, controller manager, scheduler, and two
nodes that kwok only pretends to run. Pods turn Ready, Jobs complete and volumes bind, but no container ever starts.

Usage:
  plumb-kube up --dir DIR [--audit]   run until SIGTERM; prints "ready" when pods can be scheduled
  plumb-kube version                  what is inside

Flags of up:
  --dir DIR   keys, data, logs and kubeconfig live here; the same directory comes back with the same data at the same
              address, also after a SIGKILL
  --audit     write every answered API request to DIR/audit.log

Examples:
  plumb-kube up --dir /tmp/kube &
  KUBECONFIG=/tmp/kube/kubeconfig kubectl get nodes

  # how many requests did kubectl send?
  plumb-kube up --dir /tmp/kube --audit &
  grep -c '"userAgent":"kubectl/' /tmp/kube/audit.log

  # without kubectl
  curl --cacert /tmp/kube/pki/ca.crt --cert /tmp/kube/pki/admin.crt --key /tmp/kube/pki/admin.key \
    https://127.0.0.1:$(cat /tmp/kube/port)/api/v1/nodes
`

func run(args []string) error {
	if len(args) == 0 {
		fmt.Fprint(os.Stderr, usage)
		return errors.New("a command is needed")
	}
	switch args[0] {
	case "up":
		options, err := parseUp(args[1:])
		if errors.Is(err, flag.ErrHelp) {
			return help(os.Stdout)
		}
		if err != nil {
			return err
		}
		return up(options)
	case "version", "--version":
		return version(os.Stdout)
	case "help", "--help", "-h":
		return help(os.Stdout)
	}
	return fmt.Errorf("unknown command %q, see plumb-kube --help", args[0])
}

func help(w io.Writer) error {
	_, err := io.WriteString(w, usage)
	return err
}

func version(w io.Writer) error {
	_, err := fmt.Fprintf(w, "Kubernetes %s, etcd %s, kwok %s\n",
		kubeversion.Get().GitVersion, etcdversion.Version, kwokversion.Version)
	return err
}

type upOptions struct {
	dir   string
	audit bool
}

func parseUp(args []string) (upOptions, error) {
	var o upOptions
	fs := flag.NewFlagSet("up", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.StringVar(&o.dir, "dir", "", "")
	fs.BoolVar(&o.audit, "audit", false, "")
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	if fs.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q, see plumb-kube --help", fs.Arg(0))
	}
	if o.dir == "" {
		return o, errors.New("--dir is missing, see plumb-kube --help")
	}
	return o, nil
}
