package alerter_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/plumb-gitops/plumb/pkg/bus"
	"github.com/plumb-gitops/plumb/pkg/bus/embedded"
	"github.com/plumb-gitops/plumb/pkg/config"
	"github.com/plumb-gitops/plumb/pkg/service"
	"github.com/plumb-gitops/plumb/pkg/service/alerter"
	"github.com/plumb-gitops/plumb/pkg/telemetry"
)

// With the rights of its own account and no more it does all of its work.
func TestUnderItsPermissionsItDoesItsWork(t *testing.T) {
	p, err := bus.PermissionsOf("alerter", "prod")
	if err != nil {
		t.Fatal(err)
	}
	server, err := embedded.Start(t.TempDir(), embedded.Options{Listen: "127.0.0.1:0", Log: quiet(t), Authorization: fmt.Sprintf(
		"authorization {\n users = [\n  {user: admin, password: secret}\n  {user: alerter, password: secret, permissions: %s}\n ]\n}\n", p.Config())})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	w := &world{t: t, server: server, user: "admin"}
	w.bus = w.connect()
	w.user, w.service = "alerter", "alerter"
	ops := newChannel(t, "ops", "webhook")
	w.start(routed(ops))
	w.tell(fails("web", 1))
	w.is("web", "False", 1)
	ops.expect(t, "web opened")
	w.is("web", "True", 2)
	ops.expect(t, "web opened", "web recovered")
	w.tell(succeeds("web", 2))
	eventually(t, "both are facts", func() bool { return w.alertsSent() == 2 })
}

func TestTheProgramIsBuiltFromTheConfiguration(t *testing.T) {
	w, ops := newWorld(t), newChannel(t, "ops", "slack")
	env := service.Env{Log: quiet(t), Metrics: telemetry.Metrics(), Config: config.Default()}
	env.Config.NATS.URL, env.Config.Alerter = w.server.URL(), routed(ops)
	built, err := alerter.Program().Build(t.Context(), env)
	defer func() {
		for _, end := range built.Close {
			end()
		}
	}()
	if err != nil || len(built.Parts) != 1 || len(built.Checks) != 1 {
		t.Fatalf("%+v, error %v", built, err)
	}
	if err := built.Checks[0].Ready(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestABadURLFileIsToldAtTheStart(t *testing.T) {
	w := newWorld(t)
	file := filepath.Join(t.TempDir(), "url")
	if err := os.WriteFile(file, []byte("hunter2"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := config.Alerter{Channels: []config.Channel{{Name: "ops", Type: "slack", URLFile: file}}}
	_, err := alerter.New(c, w.bus, w.options())
	if err == nil || strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), "ops: read URL file "+file+": its first line is not an http(s) URL") {
		t.Errorf("got %v", err)
	}
}
