package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/timestamppb"

	apiv1 "github.com/plumb-gitops/plumb/proto/plumb/api/v1"
	"github.com/plumb-gitops/plumb/proto/plumb/api/v1/apiv1connect"
)

// Where the API is when nothing says otherwise: what "plumb up" with defaults
// serves in the present directory.
const (
	defaultServer    = "http://127.0.0.1:8081"
	defaultTokenFile = "plumb-data/token"
)

// api reaches the dashboard.
type api struct {
	server, tokenFile string
}

// flags adds how to reach the dashboard to a command.
func (a *api) flags(c *cobra.Command, getenv func(string) string) {
	c.Flags().StringVar(&a.server, "server", or(getenv("PLUMB_SERVER"), defaultServer), "`URL` of the dashboard; also PLUMB_SERVER")
	c.Flags().StringVar(&a.tokenFile, "token-file", or(getenv("PLUMB_TOKEN_FILE"), defaultTokenFile),
		"`file` with the API token, which is <nats.dataDir>/token; also PLUMB_TOKEN_FILE")
}

func or(value, otherwise string) string {
	if value != "" {
		return value
	}
	return otherwise
}

// client reads the token now; nothing is sent yet.
func (a *api) client() (apiv1connect.PlumbServiceClient, error) {
	u, err := url.Parse(a.server)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("--server is no http or https URL; %w", errUsage)
	}
	content, err := os.ReadFile(a.tokenFile)
	if err != nil {
		return nil, fmt.Errorf("read the API token: %w; name the file <nats.dataDir>/token of the server with --token-file", err)
	}
	bearing := &bearer{token: strings.TrimSpace(string(content))}
	plain := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return apiv1connect.NewPlumbServiceClient(plain, a.server, connect.WithInterceptors(bearing)), nil
}

// bearer puts the token into every request.
type bearer struct{ token string }

func (b *bearer) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, r connect.AnyRequest) (connect.AnyResponse, error) {
		r.Header().Set("Authorization", "Bearer "+b.token)
		return next(ctx, r)
	}
}

func (b *bearer) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return func(ctx context.Context, s connect.Spec) connect.StreamingClientConn {
		conn := next(ctx, s)
		conn.RequestHeader().Set("Authorization", "Bearer "+b.token)
		return conn
	}
}

func (b *bearer) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return next
}

// explained turns an error of the API into one that says what to do.
func (a *api) explained(err error) error {
	var e *connect.Error
	if !errors.As(err, &e) {
		return err
	}
	switch {
	case e.Code() == connect.CodeUnavailable && !connect.IsWireError(err):
		return fmt.Errorf("reach %s: %s; is Plumb running there? Another place is named with --server", a.server, e.Message())
	case e.Code() == connect.CodeUnauthenticated:
		return fmt.Errorf("%s refuses the token of %s; name the file <nats.dataDir>/token of that server with --token-file", a.server, a.tokenFile)
	}
	return errors.New(e.Message())
}

// follower hands out facts in order, over breaks of the connection.
type follower struct {
	api     *api
	client  apiv1connect.PlumbServiceClient
	request *apiv1.EventsRequest
	wait    time.Duration // between tries; 0: a second
	told    recent
	began   bool // whether a stream was open once
}

// run ends with handle's error, with ctx's, or with nil when all stored facts
// are handed out and none are to be followed. A server that was never reached
// is an error at once; one that goes away is waited for.
func (f *follower) run(ctx context.Context, handle func(*apiv1.Event) error) error {
	for {
		err := f.stream(ctx, handle)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case !f.began || connect.CodeOf(err) != connect.CodeUnavailable:
			return f.api.explained(err)
		}
		if err := pause(ctx, f.wait); err != nil {
			return err
		}
	}
}

func (f *follower) stream(ctx context.Context, handle func(*apiv1.Event) error) error {
	stream, err := f.client.Events(ctx, connect.NewRequest(f.request))
	if err != nil {
		return err
	}
	defer stream.Close()
	for stream.Receive() {
		f.began = true
		e := stream.Msg()
		if !f.told.add(e.GetSource() + " " + e.GetId()) {
			continue // replayed after a break
		}
		if err := handle(e); err != nil {
			return err
		}
		if f.request.GetFollow() {
			f.request.Since = timestamppb.New(e.GetTime().AsTime().Add(-overlap))
		}
	}
	if err := stream.Err(); err != nil || !f.request.GetFollow() {
		return err
	}
	return connect.NewError(connect.CodeUnavailable, errors.New("the stream ended"))
}

// overlap is how far back a stream is read again after a break: clocks differ.
const overlap = time.Minute

func pause(ctx context.Context, wait time.Duration) error {
	if wait == 0 {
		wait = time.Second
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// recent remembers the last few thousand of what was added.
type recent struct {
	known map[string]bool
	order []string
}

const recentSize = 4096

// add says whether id is new.
func (r *recent) add(id string) bool {
	if r.known[id] {
		return false
	}
	if r.known == nil {
		r.known = map[string]bool{}
	}
	r.known[id] = true
	r.order = append(r.order, id)
	if len(r.order) > recentSize {
		delete(r.known, r.order[0])
		r.order = r.order[1:]
	}
	return true
}
