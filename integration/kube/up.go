package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/plumb-gitops/plumb/integration/kube/internal/home"
	"github.com/plumb-gitops/plumb/integration/kube/internal/plane"
)

const (
	// startLimit is generous: a start takes seconds, but tests start several on two busy cores.
	startLimit = 2 * time.Minute
	// lockPatience covers a predecessor that was just killed and is not quite gone.
	lockPatience = 3 * time.Second
)

// up runs a control plane until a signal ends the process. It returns only when something went wrong.
func up(o upOptions) error {
	endOnSignal()
	h, err := home.Open(o.dir, lockPatience)
	if err != nil {
		return err
	}
	stdout, stderr, err := settle(h)
	if err != nil {
		return err
	}
	err = serve(h, o.audit, stdout)
	report(stderr, h, err)
	return errReported
}

func serve(h *home.Home, audit bool, stdout io.Writer) error {
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	p, err := plane.Start(ctx, h, audit)
	if err != nil {
		return err
	}
	if err := p.Ready(ctx); err != nil {
		return err
	}
	fmt.Fprintln(stdout, "ready")
	return <-p.Failed()
}
