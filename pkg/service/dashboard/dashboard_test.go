package dashboard_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/plumb-gitops/plumb/pkg/bus"
	"github.com/plumb-gitops/plumb/pkg/bus/embedded"
	"github.com/plumb-gitops/plumb/pkg/config"
	"github.com/plumb-gitops/plumb/pkg/event"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/service/dashboard"
	apiv1 "github.com/plumb-gitops/plumb/proto/plumb/api/v1"
	"github.com/plumb-gitops/plumb/proto/plumb/api/v1/apiv1connect"
	eventsv1 "github.com/plumb-gitops/plumb/proto/plumb/events/v1"
)

// world is a dashboard on a real bus, served on a real port.
type world struct {
	nats *embedded.Server
	bus  *bus.Bus
	url  string
	dir  string
	stop context.CancelFunc // shuts the dashboard down
	done chan error
}

func start(t *testing.T, o dashboard.Options) *world {
	t.Helper()
	w := &world{dir: t.TempDir(), done: make(chan error, 1)}
	var err error
	if w.nats, err = embedded.Start(t.TempDir(), embedded.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.nats.Stop)
	if w.bus, err = bus.Open(t.Context(), bus.Options{InProcess: w.nats, Cluster: "c1", Service: "test"}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.bus.Close)
	d, err := dashboard.New(config.Dashboard{}, w.bus, w.dir, o)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w.url = "http://" + l.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	w.stop = cancel
	go func() { w.done <- d.Serve(ctx, l) }()
	t.Cleanup(cancel)
	return w
}

func (w *world) token(t *testing.T) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(w.dir, dashboard.TokenFile))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(content))
}

func (w *world) client(t *testing.T) apiv1connect.PlumbServiceClient {
	token := w.token(t)
	bearer := connect.UnaryInterceptorFunc(func(next connect.UnaryFunc) connect.UnaryFunc {
		return func(ctx context.Context, r connect.AnyRequest) (connect.AnyResponse, error) {
			r.Header().Set("Authorization", "Bearer "+token)
			return next(ctx, r)
		}
	})
	return apiv1connect.NewPlumbServiceClient(http.DefaultClient, w.url, connect.WithInterceptors(bearer))
}

func (w *world) put(t *testing.T, states ...*eventsv1.ApplicationState) {
	t.Helper()
	for _, s := range states {
		if err := w.bus.PutState(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
}

func state(cluster, namespace, name string) *eventsv1.ApplicationState {
	return &eventsv1.ApplicationState{Cluster: cluster, Namespace: namespace, Name: name, Ready: "True"}
}

func TestOnlyWhoHasTheTokenGetsAnAnswer(t *testing.T) {
	w := start(t, dashboard.Options{})
	token := w.token(t)
	const list = "/plumb.api.v1.PlumbService/Applications"
	for sentence, c := range map[string]struct {
		path, header string
		status       int
	}{
		"no token":                     {list, "", 401},
		"a wrong token":                {list, "Bearer " + strings.Repeat("0", 64), 401},
		"an empty token":               {list, "Bearer ", 401},
		"a part of the token":          {list, "Bearer " + token[:32], 401},
		"the token with more":          {list, "Bearer " + token + "0", 401},
		"the token as a password":      {list, "Basic " + token, 401},
		"the token alone":              {list, token, 401},
		"no token, streaming":          {"/plumb.api.v1.PlumbService/Events", "", 401},
		"no token, sync":               {"/plumb.api.v1.PlumbService/Sync", "", 401},
		"no token, nothing there":      {"/etc/passwd", "", 401},
		"the token, nothing there":     {"/etc/passwd", "Bearer " + token, 404},
		"the token":                    {list, "Bearer " + token, 200},
		"the token, scheme lower case": {list, "bearer " + token, 200},
	} {
		t.Run(sentence, func(t *testing.T) {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.url+c.path, strings.NewReader("{}"))
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Content-Type", "application/json")
			r.Header.Set("Authorization", c.header)
			response, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			if response.StatusCode != c.status {
				t.Errorf("status %d, want %d", response.StatusCode, c.status)
			}
			var body struct{ Code string }
			if c.status == 401 && (json.NewDecoder(response.Body).Decode(&body) != nil || body.Code != "unauthenticated") {
				t.Errorf("the answer is not a Connect error: %+v", body)
			}
		})
	}
}

func TestHealthNeedsNoToken(t *testing.T) {
	w := start(t, dashboard.Options{})
	r, err := http.Get(w.url + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if r.StatusCode != 200 {
		t.Errorf("got %s", r.Status)
	}
}

func TestTheTokenIsTheOwnersAloneAndStays(t *testing.T) {
	w := start(t, dashboard.Options{})
	path := filepath.Join(w.dir, dashboard.TokenFile)
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %o", info.Mode().Perm())
	}
	before := w.token(t)
	if _, err := dashboard.New(config.Dashboard{}, w.bus, w.dir, dashboard.Options{}); err != nil {
		t.Fatal(err)
	}
	if after := w.token(t); after != before || len(after) != 64 {
		t.Errorf("token changed or is short: %d characters", len(after))
	}
	if err := os.WriteFile(path, []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := dashboard.New(config.Dashboard{}, w.bus, w.dir, dashboard.Options{}); err == nil {
		t.Error("an empty token was accepted")
	}
}

func TestApplicationsAreListedInOrder(t *testing.T) {
	w := start(t, dashboard.Options{})
	w.put(t, state("c2", "a", "web"), state("c1", "b", "web"), state("c1", "a", "web"), state("c1", "a", "db"))
	for sentence, c := range map[string]struct {
		request *apiv1.ApplicationsRequest
		want    string
	}{
		"all":                  {&apiv1.ApplicationsRequest{}, "c1/a/db c1/a/web c1/b/web c2/a/web"},
		"of a cluster":         {&apiv1.ApplicationsRequest{Cluster: "c1"}, "c1/a/db c1/a/web c1/b/web"},
		"of a namespace":       {&apiv1.ApplicationsRequest{Namespace: "a"}, "c1/a/db c1/a/web c2/a/web"},
		"of a name":            {&apiv1.ApplicationsRequest{Namespace: "a", Name: "web"}, "c1/a/web c2/a/web"},
		"a cluster not known":  {&apiv1.ApplicationsRequest{Cluster: "c*"}, ""},
		"a namespace of stars": {&apiv1.ApplicationsRequest{Namespace: "*"}, ""},
	} {
		t.Run(sentence, func(t *testing.T) {
			r, err := w.client(t).Applications(t.Context(), connect.NewRequest(c.request))
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, a := range r.Msg.GetApplications() {
				got = append(got, a.GetCluster()+"/"+a.GetNamespace()+"/"+a.GetName())
			}
			if diff := cmp.Diff(c.want, strings.Join(got, " ")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// answers plays the worker of a cluster.
func (w *world) answers(t *testing.T, cluster string, answer func(*eventsv1.AskSync) (*eventsv1.AnswerSync, error)) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = w.bus.Answer(ctx, cluster, "sync", &eventsv1.AskSync{}, func(_ context.Context, req proto.Message, reply func(proto.Message) error) error {
			a, err := answer(req.(*eventsv1.AskSync))
			if err != nil {
				return err
			}
			return reply(a)
		})
	}()
	t.Cleanup(func() { cancel(); <-ended })
}

func TestSyncIsAskedOfTheClustersWorker(t *testing.T) {
	w := start(t, dashboard.Options{})
	w.put(t, state("c1", "a", "web"), state("c1", "a", "both"), state("c2", "a", "both"), state("c3", "a", "alone"))
	w.answers(t, "c1", func(q *eventsv1.AskSync) (*eventsv1.AnswerSync, error) {
		switch q.GetName() {
		case "paused":
			return &eventsv1.AnswerSync{Error: "it is suspended", ErrorCode: "Suspended"}, nil
		case "gone":
			return &eventsv1.AnswerSync{Error: "there is none", ErrorCode: "NotFound"}, nil
		case "broken":
			return nil, fault.Refuse("", fault.Place{}, "no such verb")
		}
		return &eventsv1.AnswerSync{RequestId: "r-" + q.GetNamespace() + "-" + q.GetName()}, nil
	})
	for sentence, c := range map[string]struct {
		request *apiv1.SyncRequest
		id      string
		code    connect.Code
		message string
	}{
		"by cluster":                     {&apiv1.SyncRequest{Cluster: "c1", Namespace: "a", Name: "x"}, "r-a-x", 0, ""},
		"the only cluster that has it":   {&apiv1.SyncRequest{Namespace: "a", Name: "web"}, "r-a-web", 0, ""},
		"in several clusters":            {&apiv1.SyncRequest{Namespace: "a", Name: "both"}, "", connect.CodeInvalidArgument, "give one of c1, c2"},
		"in no cluster":                  {&apiv1.SyncRequest{Namespace: "a", Name: "nope"}, "", connect.CodeNotFound, "no Application a/nope is known"},
		"without a name":                 {&apiv1.SyncRequest{Namespace: "a"}, "", connect.CodeInvalidArgument, "give namespace and name"},
		"of a cluster without worker":    {&apiv1.SyncRequest{Namespace: "a", Name: "alone"}, "", connect.CodeUnavailable, "no worker is there"},
		"what is suspended":              {&apiv1.SyncRequest{Cluster: "c1", Namespace: "a", Name: "paused"}, "", connect.CodeFailedPrecondition, "it is suspended"},
		"what the worker does not find":  {&apiv1.SyncRequest{Cluster: "c1", Namespace: "a", Name: "gone"}, "", connect.CodeNotFound, "there is none"},
		"what the worker does not grasp": {&apiv1.SyncRequest{Cluster: "c1", Namespace: "a", Name: "broken"}, "", connect.CodeInternal, "no such verb"},
	} {
		t.Run(sentence, func(t *testing.T) {
			// The answering side may still be subscribing.
			r, err := eventually(t, func() (*connect.Response[apiv1.SyncResponse], error) {
				return w.client(t).Sync(t.Context(), connect.NewRequest(c.request))
			}, c.code)
			switch {
			case c.code == 0 && err != nil:
				t.Fatal(err)
			case c.code == 0:
				if r.Msg.GetRequestId() != c.id {
					t.Errorf("got %s", r.Msg.GetRequestId())
				}
			case connect.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.message):
				t.Errorf("got %v", err)
			}
		})
	}
}

// eventually repeats a call while it is unavailable and that is not wanted.
func eventually[T any](t *testing.T, call func() (T, error), want connect.Code) (T, error) {
	t.Helper()
	for {
		r, err := call()
		if err == nil || connect.CodeOf(err) != connect.CodeUnavailable || want == connect.CodeUnavailable || t.Context().Err() != nil {
			return r, err
		}
	}
}

func fact(id, name string, at time.Time) event.Event {
	return event.Event{
		ID: id, Source: event.SourceOf("c1", "worker"), Type: event.SyncStarted, Subject: "a/" + name, Time: at,
		Trace: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", Cause: "push-1",
		Data: &eventsv1.SyncStarted{Cluster: "c1", Namespace: "a", Name: name, Attempt: 3},
	}
}

func (w *world) publish(t *testing.T, events ...event.Event) {
	t.Helper()
	for _, e := range events {
		if _, err := w.bus.Publish(t.Context(), e, e.ID); err != nil {
			t.Fatal(err)
		}
	}
}

// streamed opens an event stream with the token, which interceptors of unary
// calls do not set.
func (w *world) streamed(t *testing.T, m *apiv1.EventsRequest) (*connect.ServerStreamForClient[apiv1.Event], error) {
	r := connect.NewRequest(m)
	r.Header().Set("Authorization", "Bearer "+w.token(t))
	return apiv1connect.NewPlumbServiceClient(http.DefaultClient, w.url).Events(t.Context(), r)
}

func TestEventsAreReplayedAsTheyWere(t *testing.T) {
	w := start(t, dashboard.Options{})
	began := time.Now().Add(-time.Minute)
	push := event.Event{
		ID: "p", Source: "/c1/receiver", Type: event.GitPush, Subject: "h/a", Time: began,
		Data: &eventsv1.GitPush{Repo: "h/a", Ref: "refs/heads/main"},
	}
	w.publish(t, push, fact("e1", "web", began), fact("e2", "db", began))
	for sentence, c := range map[string]struct {
		request *apiv1.EventsRequest
		want    []string
	}{
		"all since then":           {&apiv1.EventsRequest{Since: timestamppb.New(began)}, []string{"p", "e1", "e2"}},
		"of one Application":       {&apiv1.EventsRequest{Since: timestamppb.New(began), Namespace: "a", Name: "db"}, []string{"e2"}},
		"of a namespace":           {&apiv1.EventsRequest{Since: timestamppb.New(began), Namespace: "a"}, []string{"e1", "e2"}},
		"of another cluster":       {&apiv1.EventsRequest{Since: timestamppb.New(began), Cluster: "c2"}, nil},
		"of a cluster named star":  {&apiv1.EventsRequest{Since: timestamppb.New(began), Cluster: "*"}, nil},
		"none that are stored yet": {&apiv1.EventsRequest{}, nil},
	} {
		t.Run(sentence, func(t *testing.T) {
			stream, err := w.streamed(t, c.request)
			if err != nil {
				t.Fatal(err)
			}
			defer stream.Close()
			var got []string
			for stream.Receive() {
				got = append(got, stream.Msg().GetId())
			}
			if err := stream.Err(); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestEventsAreFollowedWithAllTheySay(t *testing.T) {
	w := start(t, dashboard.Options{})
	at := time.Now().Truncate(time.Millisecond)
	w.publish(t, fact("e1", "web", at))
	stream, err := w.streamed(t, &apiv1.EventsRequest{Follow: true, Since: timestamppb.New(at.Add(-time.Minute))})
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	if !stream.Receive() || stream.Msg().GetId() != "e1" {
		t.Fatalf("got %v, %v", stream.Msg(), stream.Err())
	}
	w.publish(t, fact("e2", "web", at))
	if !stream.Receive() {
		t.Fatal(stream.Err())
	}
	want := &apiv1.Event{
		Id: "e2", Type: "dev.plumb.sync.started.v1", Source: "/c1/worker", Subject: "a/web", Time: timestamppb.New(at),
		Trace: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", Cause: "push-1", Sequence: 2,
	}
	got := stream.Msg()
	if fmt.Sprint(got.GetData().AsMap()) != "map[attempt:3 cluster:c1 name:web namespace:a]" {
		t.Errorf("data %v", got.GetData())
	}
	got.Data = nil
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
}

// A stream that is followed ends with the service, and at once.
func TestShutdownEndsStreams(t *testing.T) {
	w := start(t, dashboard.Options{})
	w.publish(t, fact("e1", "web", time.Now()))
	stream, err := w.streamed(t, &apiv1.EventsRequest{Follow: true, Since: timestamppb.New(time.Now().Add(-time.Minute))})
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	if !stream.Receive() {
		t.Fatal(stream.Err())
	}
	began := time.Now()
	w.stop()
	if stream.Receive() || connect.CodeOf(stream.Err()) != connect.CodeUnavailable {
		t.Errorf("got %v", stream.Err())
	}
	if err := <-w.done; err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > 4*time.Second {
		t.Errorf("shutdown took %s: the stream was waited for", took)
	}
}

func TestStreamsAreBounded(t *testing.T) {
	w := start(t, dashboard.Options{Streams: 1})
	w.publish(t, fact("e1", "web", time.Now()))
	follow := &apiv1.EventsRequest{Follow: true, Since: timestamppb.New(time.Now().Add(-time.Minute))}
	first, err := w.streamed(t, follow)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	if !first.Receive() {
		t.Fatal(first.Err())
	}
	second, err := w.streamed(t, follow)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	if second.Receive() || connect.CodeOf(second.Err()) != connect.CodeResourceExhausted {
		t.Errorf("got %v", second.Err())
	}
}

func TestWithoutNATSTheAPISaysSo(t *testing.T) {
	w := start(t, dashboard.Options{})
	w.nats.Stop()
	_, err := w.client(t).Applications(t.Context(), connect.NewRequest(&apiv1.ApplicationsRequest{}))
	if connect.CodeOf(err) != connect.CodeUnavailable {
		t.Errorf("got %v", err)
	}
}

func TestRequestsAreSmallAndQuick(t *testing.T) {
	w := start(t, dashboard.Options{Read: 100 * time.Millisecond})
	for sentence, c := range map[string]struct {
		send   string
		status string
	}{
		"too large": {"Content-Length: 70000\r\n\r\n" + strings.Repeat(" ", 70000), "413"},
		"too slow":  {"Content-Length: 10\r\n\r\n{", "408"},
	} {
		t.Run(sentence, func(t *testing.T) {
			conn, err := net.Dial("tcp", strings.TrimPrefix(w.url, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
			fmt.Fprintf(conn, "POST /plumb.api.v1.PlumbService/Applications HTTP/1.1\r\nHost: x\r\n"+
				"Content-Type: application/json\r\nAuthorization: Bearer %s\r\n%s", w.token(t), c.send)
			answer := make([]byte, 12)
			if _, err := conn.Read(answer); err != nil || !strings.HasSuffix(string(answer), c.status) {
				t.Errorf("got %q, %v", answer, err)
			}
		})
	}
}
