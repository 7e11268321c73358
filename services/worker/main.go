// Worker routes pushes and carries out sync requests for its own cluster.
package main

import (
	"os"

	"github.com/plumb-gitops/plumb/pkg/render/child"
	"github.com/plumb-gitops/plumb/pkg/service"
	"github.com/plumb-gitops/plumb/pkg/service/worker"
)

func main() {
	if child.Main() {
		return
	}
	os.Exit(service.Main(worker.Program(), os.Args[1:], os.Getenv, os.Stdout, os.Stderr))
}
