package bus_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"

	"github.com/plumb-gitops/plumb/pkg/bus"
	"github.com/plumb-gitops/plumb/pkg/bus/embedded"
	"github.com/plumb-gitops/plumb/pkg/event"
	eventsv1 "github.com/plumb-gitops/plumb/proto/plumb/events/v1"
)

var services = []string{"receiver", "worker", "drift-scanner", "committer", "alerter", "dashboard"}

// guarded is a server with an account per service of cluster local, one for a
// worker of cluster edge, and one that may do everything.
type guarded struct {
	server *embedded.Server
	host   string
}

func startGuarded(t *testing.T) guarded {
	t.Helper()
	var users strings.Builder
	users.WriteString("authorization {\n users = [\n  {user: admin, password: secret}\n")
	add := func(user, service, cluster string) {
		p, err := bus.PermissionsOf(service, cluster)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&users, "  {user: %q, password: secret, permissions: %s}\n", user, p.Config())
	}
	for _, service := range services {
		add(service, service, "local")
	}
	add("edge-worker", "worker", "edge")
	users.WriteString(" ]\n}\n")
	server := startServer(t, embedded.Options{Listen: "127.0.0.1:0", Authorization: users.String()})
	return guarded{server, strings.TrimPrefix(server.URL(), "nats://")}
}

func (g guarded) open(t *testing.T, user, service, cluster string, change ...func(*bus.Options)) *bus.Bus {
	t.Helper()
	return open(t, nil, append(change, func(o *bus.Options) {
		o.URL = "nats://" + user + ":secret@" + g.host
		o.Service, o.Cluster = service, cluster
	})...)
}

// raw is a client that uses a service's account for what it likes, and counts
// what it is denied.
func (g guarded) raw(t *testing.T, user, service string) (*nats.Conn, *atomic.Int32) {
	t.Helper()
	var denied atomic.Int32
	nc, err := nats.Connect("nats://"+user+":secret@"+g.host, nats.CustomInboxPrefix("_INBOX."+service),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			if errors.Is(err, nats.ErrPermissionViolation) {
				denied.Add(1)
			}
		}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc, &denied
}

func TestUnderItsPermissionsEveryServiceCanDoItsWork(t *testing.T) {
	g := startGuarded(t)
	all := map[string]*bus.Bus{}
	var log lockedBuffer // of what NATS denied, among other errors
	for _, service := range services {
		all[service] = g.open(t, service, service, "local", func(o *bus.Options) {
			o.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelError}))
		})
	}
	worker, ctx := all["worker"], t.Context()
	routed, worked, alerted, followed := make(chan string, 9), make(chan string, 9), make(chan string, 9), make(chan string, 99)
	consume(t, worker, func(_ context.Context, d bus.Delivery) error { routed <- d.Event.ID; return nil })
	work(t, worker, 2, func(_ context.Context, task *bus.Task) error {
		worked <- task.Event.ID
		return bus.DeadLetter(errors.New("x"))
	})
	background(t, func(ctx context.Context) error {
		return all["alerter"].Consume(ctx, bus.AlertConsumer(), func(_ context.Context, d bus.Delivery) error { alerted <- d.Event.ID; return nil })
	})
	background(t, func(ctx context.Context) error {
		return all["committer"].Consume(ctx, bus.ImageConsumer("local"), func(context.Context, bus.Delivery) error { return nil })
	})
	background(t, func(ctx context.Context) error {
		return all["dashboard"].Follow(ctx, bus.Query{}, func(e event.Event) error { followed <- e.ID; return nil })
	})
	answer(t, worker, "local", func(_ context.Context, _ *eventsv1.AskSync, reply reply) error {
		return errors.Join(reply(&eventsv1.AnswerSync{RequestId: "1"}), reply(&eventsv1.AnswerSync{RequestId: "2"}))
	})
	_, js := admin(t, g.server, nats.UserInfo("admin", "secret"))
	begin(t, js, "PLUMB_EVENTS", "route-local")
	begin(t, js, "PLUMB_EVENTS", "alert")
	swept := make(chan string, 9)
	background(t, func(ctx context.Context) error {
		return all["drift-scanner"].Follow(ctx, bus.Query{Subjects: []string{"plumb.events.git.routed.>"}}, func(e event.Event) error { swept <- e.ID; return nil })
	})
	eventually(t, "the scanner follows routes", func() bool {
		publish(t, worker, event.Event{ID: "routed", Source: "/local/worker", Type: event.GitRouted, Subject: "a", Time: time.Now(), Data: &eventsv1.GitRouted{Cluster: "local", Repo: "a"}}, "")
		return len(swept) > 0
	})
	eventually(t, "somebody follows", func() bool {
		publish(t, all["receiver"], push("push", "a"), "")
		return len(followed) > 0
	})
	receive(t, "the push", routed)
	publish(t, all["drift-scanner"], push("sweep", "a"), "")
	publish(t, worker, request("request", "web"), "")
	receive(t, "the request", worked)
	eventually(t, "the dead letter is stored", func() bool { return messages(t, js, "PLUMB_DEAD") == 1 })
	health := &eventsv1.HealthChanged{Cluster: "local", Namespace: "team", Name: "web", To: "Degraded"}
	publish(t, worker, event.Event{ID: "health", Source: "/local/worker", Type: event.HealthChanged, Subject: "team/web", Time: time.Now(), Data: health}, "")
	receive(t, "the fact", alerted)
	publish(t, all["alerter"], event.Event{ID: "sent", Source: "/local/alerter", Type: event.AlertSent, Subject: "x", Time: time.Now(), Data: &eventsv1.AlertSent{Incident: "x", Channel: "ops"}}, "")

	for name, key := range map[string]string{
		"worker": webLease, "drift-scanner": bus.ScanLease("local", "0"), "committer": bus.CommitLease("github.com/acme/config", "main"),
	} {
		lease, err := all[name].Lease(ctx, key, "first")
		if err != nil {
			t.Fatal(name, err)
		}
		got := make(chan error, 1)
		go func() {
			_, err := all[name].AwaitLease(ctx, key, "second")
			got <- err
		}()
		receive(t, "the wish for the lease of "+name, lease.Yielded())
		if err := lease.Release(ctx); err != nil {
			t.Error(name, err)
		}
		if err := receive(t, "the lease of "+name, got); err != nil {
			t.Error(name, err)
		}
	}
	put(t, worker, state("local", "web", "True"))
	eventually(t, "the dashboard sees it", func() bool {
		states, err := all["dashboard"].States(ctx, "")
		return err == nil && len(states) == 1
	})
	if states, err := worker.States(ctx, "local"); err != nil || len(states) != 1 {
		t.Errorf("the worker sees %v, error %v", states, err)
	}
	if _, err := all["alerter"].Incidents().Put(ctx, &eventsv1.Incident{Id: "x"}, 0); err != nil {
		t.Error(err)
	}
	if err := all["alerter"].Incidents().List(ctx, func(*eventsv1.Incident, uint64) error { return nil }); err != nil {
		t.Error(err)
	}
	parts := 0
	if err := all["dashboard"].AskEach(ctx, "local", "sync", &eventsv1.AskSync{}, &eventsv1.AnswerSync{}, func() error { parts++; return nil }); err != nil || parts != 2 {
		t.Errorf("%d parts, error %v", parts, err)
	}
	for _, name := range []string{"route-local", "alert"} {
		idle(t, js, "PLUMB_EVENTS", name)
	}
	idle(t, js, "PLUMB_SYNC", "sync-local")
	deleteStreams(t, js)
	publish(t, all["receiver"], push("after", "a"), "")
	put(t, worker, state("local", "web", "True"))
	if log.String() != "" {
		t.Errorf("logged errors:\n%s", log.String())
	}
}

// What a stolen account may not do. Each line is tried; the server must deny it
// or nothing may change.
func TestAnAccountCannotLeaveItsService(t *testing.T) {
	g := startGuarded(t)
	admins := g.open(t, "admin", "", "local")
	_, js := admin(t, g.server, nats.UserInfo("admin", "secret"))
	publish(t, admins, push("1", "a"), "")
	publish(t, admins, request("1", "web"), "")
	put(t, admins, state("local", "web", "True"))
	before := contents(t, js)

	anything := []string{
		"$JS.API.STREAM.PURGE.PLUMB_EVENTS", "$JS.API.STREAM.DELETE.PLUMB_EVENTS", "$JS.API.STREAM.UPDATE.PLUMB_EVENTS",
		"$JS.API.STREAM.MSG.DELETE.PLUMB_EVENTS", "$JS.API.STREAM.PURGE.PLUMB_SYNC", "$JS.API.STREAM.DELETE.PLUMB_SYNC",
		"$JS.API.STREAM.PURGE.KV_plumb_apps", "$JS.API.STREAM.DELETE.KV_plumb_leases", "$JS.API.STREAM.RESTORE.PLUMB_EVENTS",
		"$JS.API.STREAM.CREATE.EVIL", "$JS.API.CONSUMER.DELETE.PLUMB_EVENTS.route-local", "$JS.API.CONSUMER.CREATE.PLUMB_SYNC.evil",
		"$JS.API.CONSUMER.DURABLE.CREATE.PLUMB_EVENTS.route-local", "$JS.API.STREAM.SNAPSHOT.PLUMB_EVENTS",
		"$JS.API.CONSUMER.MSG.NEXT.PLUMB_SYNC.sync-edge", "$JS.ACK.PLUMB_SYNC.sync-edge.1.1.1.1.0",
		"plumb.sync.edge.team.web", "plumb.events.app.edge.team.web.sync", "$KV.plumb_apps.edge.team.web",
		"$KV.plumb_leases.sync.edge.team.web", "plumb.other", "$SYS.REQ.SERVER.PING",
	}
	only := map[string][]string{
		"receiver":      {"plumb.sync.local.team.web", "plumb.events.app.local.team.web.sync", "plumb.dead.x.y", "$KV.plumb_apps.local.team.web", "plumb.ask.local.tree", "$KV.plumb_leases.sync.local.team.web", "$JS.API.CONSUMER.CREATE.PLUMB_EVENTS.evil"},
		"worker":        {"plumb.events.git.push.a", "plumb.events.alert.ops", "$KV.plumb_incidents.x", "$KV.plumb_leases.scan.local.0", "plumb.ask.local.tree", "$JS.API.CONSUMER.CREATE.PLUMB_EVENTS.alert"},
		"drift-scanner": {"plumb.events.git.routed.a", "plumb.events.app.local.team.web.sync", "$KV.plumb_leases.sync.local.team.web", "$KV.plumb_apps.local.team.web"},
		"committer":     {"plumb.events.git.push.a", "$KV.plumb_leases.sync.local.team.web", "plumb.events.app.local.team.web.sync"},
		"alerter":       {"plumb.sync.local.team.web", "plumb.events.git.push.a", "$KV.plumb_apps.local.team.web", "plumb.events.app.local.team.web.sync"},
		"dashboard":     {"plumb.sync.local.team.web", "plumb.events.git.push.a", "$KV.plumb_apps.local.team.web", "$KV.plumb_incidents.x", "plumb.dead.x.y"},
	}
	for _, service := range services {
		t.Run(service, func(t *testing.T) {
			nc, denied := g.raw(t, service, service)
			subjects := append(append([]string{}, anything...), only[service]...)
			for _, subject := range subjects {
				if err := nc.Publish(subject, []byte("{}")); err != nil {
					t.Fatal(err)
				}
			}
			eventually(t, "all of them are denied", func() bool { return int(denied.Load()) == len(subjects) })
			for i, subject := range []string{">", "_INBOX.>", "plumb.events.>", "plumb.sync.>", "$KV.>", "plumb.ask.edge.tree", "_INBOX.other.>"} {
				if _, err := nc.SubscribeSync(subject); err != nil {
					t.Fatal(err)
				}
				eventually(t, "listening to "+subject+" is denied", func() bool { return int(denied.Load()) == len(subjects)+i+1 })
			}
		})
	}
	if diff := cmp.Diff(before, contents(t, js)); diff != "" {
		t.Errorf("streams changed:\n%s", diff)
	}
}

// contents counts the messages of every stream, which must all be there.
func contents(t *testing.T, js jetstream.JetStream) map[string]uint64 {
	t.Helper()
	counts := map[string]uint64{}
	for info := range js.ListStreams(t.Context()).Info() {
		counts[info.Config.Name] = info.State.Msgs
	}
	return counts
}

// A push consumer lets the server publish for whoever may create consumers.
func TestAConsumerIsNoWayToPublishElsewhere(t *testing.T) {
	g := startGuarded(t)
	admins := g.open(t, "admin", "", "local")
	_, js := admin(t, g.server, nats.UserInfo("admin", "secret"))
	put(t, admins, state("local", "web", "True"))
	publish(t, admins, push("1", "a"), "")
	before := contents(t, js)
	nc, _ := g.raw(t, "dashboard", "dashboard")
	deliverTo := func(i int, subject string) {
		t.Helper()
		request, err := json.Marshal(map[string]any{"stream_name": "KV_plumb_apps", "config": map[string]any{
			"name": fmt.Sprint("evil", i), "filter_subject": "$KV.plumb_apps.>", "ack_policy": "none",
			"deliver_policy": "all", "deliver_subject": subject,
		}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := nc.Request(fmt.Sprint("$JS.API.CONSUMER.CREATE.KV_plumb_apps.evil", i, ".$KV.plumb_apps.>"), request, patience); err != nil {
			t.Fatal(err)
		}
	}
	for i, subject := range []string{"plumb.events.git.push.a", "plumb.sync.local.team.web", "$JS.API.STREAM.PURGE.KV_plumb_apps", "$JS.API.STREAM.DELETE.PLUMB_EVENTS"} {
		deliverTo(i, subject)
	}
	// One that is allowed, made last: when it has delivered, the others had time to.
	inbox := nc.NewInbox()
	delivered, err := nc.SubscribeSync(inbox)
	if err != nil {
		t.Fatal(err)
	}
	deliverTo(99, inbox)
	if _, err := delivered.NextMsg(patience); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, contents(t, js)); diff != "" {
		t.Errorf("streams changed:\n%s", diff)
	}
}

func TestAForeignClustersWorkerSeesNothingOfOurs(t *testing.T) {
	g := startGuarded(t)
	local, edge := g.open(t, "worker", "worker", "local"), g.open(t, "edge-worker", "worker", "edge")
	for name, err := range map[string]error{
		"states": func() error {
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			_, err := edge.States(ctx, "local")
			return err
		}(),
		"a lease": func() error {
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			_, err := edge.Lease(ctx, webLease, "edge")
			return err
		}(),
		"a fact": func() error {
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			data := &eventsv1.HealthChanged{Cluster: "local", Namespace: "team", Name: "web"}
			_, err := edge.Publish(ctx, event.Event{ID: "1", Source: "/edge/worker", Type: event.HealthChanged, Subject: "x", Time: time.Now(), Data: proto.Clone(data)}, "")
			return err
		}(),
	} {
		if err == nil {
			t.Errorf("%s of another cluster was let through", name)
		}
	}
	if _, err := local.Lease(t.Context(), webLease, "local"); err != nil {
		t.Errorf("our own lease: %v", err)
	}
}

func TestPermissionsOfAnUnknownServiceAreAnError(t *testing.T) {
	if _, err := bus.PermissionsOf("plumb", "local"); err == nil {
		t.Error("no error")
	}
	p, err := bus.PermissionsOf("worker", "a.b>*")
	if err != nil {
		t.Fatal(err)
	}
	for _, subject := range append(p.Publish, p.Subscribe...) {
		if strings.Contains(subject, "a.b") || strings.Contains(subject, "CLUSTER") || strings.Contains(subject, "{c}") {
			t.Errorf("subject %q", subject)
		}
	}
}
