// Plumb is the command line, and all of Plumb in one process as `plumb up`.
package main

import (
	"os"

	"github.com/plumb-gitops/plumb/pkg/cli"
	"github.com/plumb-gitops/plumb/pkg/render/child"
)

func main() {
	if child.Main() {
		return
	}
	os.Exit(cli.Main(os.Args[1:], cli.Env{In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Getenv: os.Getenv}))
}
