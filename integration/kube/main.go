// Command plumb-kube is a real Kubernetes control plane in one program, for tests and demonstrations.
package main

import (
	"errors"
	"fmt"
	"os"
)

// errReported ends the process with a failure that was told already.
var errReported = errors.New("already reported")

func main() {
	err := run(os.Args[1:])
	if err == nil {
		return
	}
	if !errors.Is(err, errReported) {
		fmt.Fprintln(os.Stderr, "plumb-kube:", err)
	}
	os.Exit(1)
}
