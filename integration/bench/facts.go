package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	rpc "connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/timestamppb"

	apiv1 "github.com/plumb-gitops/plumb/proto/plumb/api/v1"
	"github.com/plumb-gitops/plumb/proto/plumb/api/v1/apiv1connect"
)

// routedType is the fact that tells what a push means.
const routedType = "dev.plumb.git.routed.v1"

// facts are the events that plumb up tells, as `plumb events --follow` has them.
type facts struct {
	told chan *apiv1.Event
	end  context.CancelFunc
	err  error // once told is closed
}

// facts follows from since on until end is called.
func (p *plumb) facts(ctx context.Context, since time.Time) (*facts, error) {
	token, err := os.ReadFile(p.token)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	request := rpc.NewRequest(&apiv1.EventsRequest{Follow: true, Since: timestamppb.New(since)})
	request.Header().Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	f := &facts{told: make(chan *apiv1.Event, 1024), end: cancel}
	client := apiv1connect.NewPlumbServiceClient(http.DefaultClient, p.api)
	go func() {
		defer close(f.told)
		stream, err := client.Events(ctx, request)
		if f.err = err; err != nil {
			return
		}
		defer stream.Close()
		for stream.Receive() {
			select {
			case f.told <- stream.Msg():
			case <-ctx.Done():
				return
			}
		}
		f.err = stream.Err()
	}()
	return f, nil
}

// next waits for a fact.
func (f *facts) next(ctx context.Context) (*apiv1.Event, error) {
	select {
	case e, open := <-f.told:
		if !open {
			return nil, fmt.Errorf("follow the facts: %w", errors.Join(f.err, errors.New("the stream ended")))
		}
		return e, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// routing is what a worker made of a push.
type routing struct {
	at                   time.Time // of the decision, by the worker's clock
	affected, unaffected int
}

// routed waits until it is told what the push of a commit means.
func (f *facts) routed(ctx context.Context, sha string) (routing, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, time.Minute, fmt.Errorf("commit %s was not routed within a minute", sha))
	defer cancel()
	for {
		e, err := f.next(ctx)
		if err != nil {
			return routing{}, err
		}
		if data := e.GetData().AsMap(); e.GetType() == routedType && data["to"] == sha {
			affected, _ := data["affected"].([]any)
			unaffected, _ := data["unaffected"].(float64)
			return routing{at: e.GetTime().AsTime(), affected: len(affected), unaffected: int(unaffected)}, nil
		}
	}
}

// silence returns once nothing was told for that long.
func (f *facts) silence(ctx context.Context, long time.Duration) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("facts did not stop for %s", long))
	defer cancel()
	for {
		quiet, done := context.WithTimeout(ctx, long)
		_, err := f.next(quiet)
		over := quiet.Err() != nil && ctx.Err() == nil
		done()
		switch {
		case over:
			return nil
		case err != nil:
			return err
		}
	}
}
