// Setup makes the secrets that an installation needs, once: an NATS account per
// service with its permissions, a webhook secret and the API token. What is there
// already is kept, so it can run again after an upgrade, which may change
// permissions.
//
//	go run ./deploy/setup --dir deploy/compose/secrets
//	go run ./deploy/setup --dir SECRETS --manifests plumb-system | kubectl apply -f -
//
// The directory is for its owner alone. Below it is a directory for each service,
// which only that service is given; files put there by hand go along.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
)

func main() {
	err := run(os.Args[1:], os.Stdout)
	switch {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, "setup:", err)
		os.Exit(1)
	}
}

func run(args []string, out io.Writer) error {
	flags := flag.NewFlagSet("setup", flag.ContinueOnError)
	dir := flags.String("dir", "", "`directory` of the secrets")
	cluster := flags.String("cluster", "local", "`name` of the cluster on the bus")
	kubeconfig := flags.String("kubeconfig", "", "`file` to give to worker and drift-scanner, with all that it names inside")
	namespace := flags.String("manifests", "", "print the secrets as Kubernetes Secrets of this `namespace`")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *dir == "" || flags.NArg() > 0 {
		return errors.New("usage: setup --dir DIRECTORY [--cluster NAME] [--kubeconfig FILE] [--manifests NAMESPACE]")
	}
	if err := generate(*dir, *cluster); err != nil {
		return err
	}
	if *kubeconfig != "" {
		if err := copyKubeconfig(*kubeconfig, *dir); err != nil {
			return err
		}
	}
	if *namespace != "" {
		return manifests(out, *dir, *namespace)
	}
	return nil
}
