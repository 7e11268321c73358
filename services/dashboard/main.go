// Dashboard serves the API of the CLI.
package main

import (
	"os"

	"github.com/plumb-gitops/plumb/pkg/service"
	"github.com/plumb-gitops/plumb/pkg/service/dashboard"
)

func main() {
	os.Exit(service.Main(dashboard.Program(), os.Args[1:], os.Getenv, os.Stdout, os.Stderr))
}
