package bus_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/plumb-gitops/plumb/pkg/bus"
	"github.com/plumb-gitops/plumb/pkg/bus/embedded"
)

var services = []string{"receiver", "worker", "drift-scanner", "committer", "alerter", "dashboard"}

// authorization gives each service an account of its name, and one to admin.
func authorization(t *testing.T) string {
	t.Helper()
	var users strings.Builder
	users.WriteString("authorization {\n users = [\n  {user: admin, password: secret}\n")
	for _, service := range services {
		p, err := bus.PermissionsOf(service, "local")
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&users, "  {user: %q, password: secret, permissions: %s}\n", service, p.Config())
	}
	users.WriteString(" ]\n}\n")
	return users.String()
}

func as(service string) func(*bus.Options) {
	return func(o *bus.Options) { o.Service, o.Cluster = service, "local" }
}

func TestEscalate(t *testing.T) {
	server := startServer(t, embedded.Options{Listen: "127.0.0.1:0", Authorization: authorization(t)})
	host := strings.TrimPrefix(server.URL(), "nats://")
	nc, err := nats.Connect("nats://admin:secret@" + host)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, _ := nc.JetStream()
	for _, s := range services {
		b, err := bus.Open(t.Context(), bus.Options{URL: "nats://" + s + ":secret@" + host, Service: s, Cluster: "local", Timing: fast, Log: testLog(t)})
		if err != nil {
			t.Fatal(s, err)
		}
		defer b.Close()
		if s == "receiver" {
			publish(t, b, push("1", "x"), "")
		}
	}
	for name := range js.StreamNames() {
		t.Log(name)
	}
	al, err := nats.Connect("nats://dashboard:secret@"+host, nats.CustomInboxPrefix("_INBOX.dashboard"))
	if err != nil {
		t.Fatal(err)
	}
	defer al.Close()
	publishAs := func(subject string, data any) {
		d, _ := json.Marshal(data)
		ctx, c := context.WithTimeout(t.Context(), time.Second)
		defer c()
		m, err := al.RequestWithContext(ctx, subject, d)
		t.Log(subject, err)
		if m != nil {
			t.Log(string(m.Data))
		}
	}
	info := func(n string) { i, err := js.StreamInfo(n); t.Log(n, err, i.State.Msgs) }
	js.Publish("$KV.plumb_apps.local.a.b", []byte("{}"))
	info("KV_plumb_apps")
	publishAs("$JS.API.STREAM.PURGE.PLUMB_EVENTS", nil)
	publishAs("$JS.API.CONSUMER.CREATE.KV_plumb_apps.evil.$KV.plumb_apps.>", map[string]any{"stream_name": "KV_plumb_apps", "config": map[string]any{
		"name": "evil", "filter_subject": "$KV.plumb_apps.>", "ack_policy": "none", "deliver_policy": "all", "deliver_subject": "$JS.API.STREAM.PURGE.KV_plumb_apps"}})
	publishAs("$JS.API.CONSUMER.CREATE.KV_plumb_apps.evil2.$KV.plumb_apps.>", map[string]any{"stream_name": "KV_plumb_apps", "config": map[string]any{
		"name": "evil2", "filter_subject": "$KV.plumb_apps.>", "ack_policy": "none", "deliver_policy": "all", "deliver_subject": "plumb.events.git.push.forged"}})
	time.Sleep(time.Second)
	info("KV_plumb_apps")
	info("PLUMB_EVENTS")
}
