// Alerter tells people what fails and what recovers.
package main

import (
	"os"

	"github.com/plumb-gitops/plumb/pkg/service"
	"github.com/plumb-gitops/plumb/pkg/service/alerter"
)

func main() {
	os.Exit(service.Main(alerter.Program(), os.Args[1:], os.Getenv, os.Stdout, os.Stderr))
}
