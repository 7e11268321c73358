// Receiver takes webhooks and publishes what they say.
package main

import (
	"os"

	"github.com/plumb-gitops/plumb/pkg/service"
	"github.com/plumb-gitops/plumb/pkg/service/receiver"
)

func main() {
	os.Exit(service.Main(receiver.Program(), os.Args[1:], os.Getenv, os.Stdout, os.Stderr))
}
