// Drift-scanner finds what nobody announced in Git and in its own cluster.
package main

import (
	"os"

	"github.com/plumb-gitops/plumb/pkg/service"
	"github.com/plumb-gitops/plumb/pkg/service/driftscanner"
)

func main() {
	os.Exit(service.Main(driftscanner.Program(), os.Args[1:], os.Getenv, os.Stdout, os.Stderr))
}
