package cli_test

import (
	"bytes"
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/bus"
	"github.com/plumb-gitops/plumb/pkg/bus/embedded"
	"github.com/plumb-gitops/plumb/pkg/cli"
	"github.com/plumb-gitops/plumb/pkg/config"
	"github.com/plumb-gitops/plumb/pkg/render/child"
	"github.com/plumb-gitops/plumb/pkg/service/dashboard"
	"github.com/plumb-gitops/plumb/pkg/webhook"
	eventsv1 "github.com/plumb-gitops/plumb/proto/plumb/events/v1"
)

func TestMain(m *testing.M) {
	if child.Main() {
		return
	}
	os.Exit(m.Run())
}

// now is when every command of these tests runs.
var now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// plumb runs one command line.
func plumb(t *testing.T, env map[string]string, stdin string, args ...string) (code int, out, errs string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code = cli.Main(args, cli.Env{
		In: strings.NewReader(stdin), Out: &stdout, Err: &stderr,
		Getenv: func(k string) string { return env[k] }, Now: func() time.Time { return now },
	})
	return code, stdout.String(), stderr.String()
}

// world is a dashboard on a real bus.
type world struct {
	bus *bus.Bus
	env map[string]string // that makes commands reach it
}

func start(t *testing.T) *world {
	t.Helper()
	server, err := embedded.Start(t.TempDir(), embedded.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	b, err := bus.Open(t.Context(), bus.Options{InProcess: server, Cluster: "local", Service: "test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	dir := t.TempDir()
	d, err := dashboard.New(config.Dashboard{}, b, dir, dashboard.Options{})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- d.Serve(ctx, l) }()
	t.Cleanup(func() { cancel(); <-ended })
	return &world{bus: b, env: map[string]string{
		"PLUMB_SERVER": "http://" + l.Addr().String(), "PLUMB_TOKEN_FILE": filepath.Join(dir, dashboard.TokenFile),
	}}
}

func (w *world) put(t *testing.T, states ...*eventsv1.ApplicationState) {
	t.Helper()
	for _, s := range states {
		if err := w.bus.PutState(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
}

func web(cluster string) *eventsv1.ApplicationState {
	return &eventsv1.ApplicationState{
		Cluster: cluster, Namespace: "team-a", Name: "web", Repo: "https://github.com/acme/config", Ref: "main", Path: "apps/web",
		Revision: "0123456789abcdef0123456789abcdef01234567", Ready: "True", Reason: "Succeeded", Message: "applied",
		Synced: "True", Healthy: "True", Drifted: "False", CreatedAt: timestamppb.New(now.Add(-3 * time.Hour)),
	}
}

func TestBadCommandLinesAreToldFromFailures(t *testing.T) {
	for sentence, c := range map[string]struct {
		args []string
		code int
		want string
	}{
		"nothing":                 {nil, 0, "Available Commands:"},
		"help":                    {[]string{"help", "sync"}, 0, "plumb sync team-a/web"},
		"an unknown command":      {[]string{"frob"}, 2, `unknown command "frob"`},
		"an unknown flag":         {[]string{"get", "--frob"}, 2, "unknown flag: --frob"},
		"an argument too many":    {[]string{"crds", "x"}, 2, `unknown command "x"`},
		"no Application":          {[]string{"sync"}, 2, "name one Application as <namespace>/<name>"},
		"a name without place":    {[]string{"sync", "web"}, 2, "want <namespace>/<name>, or a name with --namespace"},
		"two namespaces":          {[]string{"sync", "a/web", "-n", "b"}, 2, "a/web is not in namespace b"},
		"no configuration":        {[]string{"up"}, 2, "name the configuration with --config"},
		"no configuration, bus":   {[]string{"bus", "apply"}, 2, "name the configuration with --config"},
		"a configuration missing": {[]string{"up", "--config", "/none"}, 1, "open /none: no such file"},
		"nothing to render":       {[]string{"render"}, 2, "name the file of an Application with -f"},
		"a server that is none":   {[]string{"get", "--server", "ftp://x"}, 2, "--server is no http or https URL"},
		"an unknown output":       {[]string{"events", "-o", "xml"}, 2, `output "xml" is not known, use json`},
		"no token":                {[]string{"get", "--token-file", "/none"}, 1, "read the API token: open /none: no such file or directory; name the file"},
		"nothing to compare":      {[]string{"diff"}, 2, "name one Application as <namespace>/<name>"},
		"nothing to confirm":      {[]string{"confirm"}, 2, "name one Application as <namespace>/<name>"},
		"a set without a name":    {[]string{"confirm", "set/web"}, 2, "want <namespace>/<name>"},
		"an argument to leave":    {[]string{"uninstall", "x"}, 2, `unknown command "x"`},
		"no token, to compare":    {[]string{"diff", "a/b", "--token-file", "/none"}, 2, "read the API token"},
		"version":                 {[]string{"version"}, 0, "plumb "},
	} {
		t.Run(sentence, func(t *testing.T) {
			code, out, errs := plumb(t, nil, "", c.args...)
			if code != c.code || !strings.Contains(out+errs, c.want) {
				t.Errorf("exit code %d, want %d; %q is not in:\n%s%s", code, c.code, c.want, out, errs)
			}
		})
	}
}

func TestEveryCommandHasAnExample(t *testing.T) {
	for _, command := range [][]string{{"up"}, {"get"}, {"sync"}, {"diff"}, {"confirm"}, {"uninstall"}, {"events"}, {"render"}, {"crds"}, {"bus"}, {"bus", "apply"}, {"version"}} {
		if _, out, _ := plumb(t, nil, "", append(command, "--help")...); !strings.Contains(out, "Examples:\n  plumb "+command[0]) {
			t.Errorf("%v:\n%s", command, out)
		}
	}
}

func TestCRDsPrintsTheCRD(t *testing.T) {
	if code, out, _ := plumb(t, nil, "", "crds"); code != 0 || out != string(v1alpha1.CRD())+string(v1alpha1.SetCRD()) {
		t.Errorf("exit code %d:\n%.200s", code, out)
	}
}

// The configuration accepts the providers that webhook knows, under its names.
func TestProvidersAreTheSameWords(t *testing.T) {
	var known []string
	for _, p := range webhook.Providers() {
		known = append(known, p.Name())
	}
	if diff := cmp.Diff(known, config.Providers); diff != "" {
		t.Error(diff)
	}
}
