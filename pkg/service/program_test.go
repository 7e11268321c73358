package service_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/plumb-gitops/plumb/pkg/service"
)

func none(string) string { return "" }

func file(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "plumb.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestMainTellsBadCallsFromFailures(t *testing.T) {
	fails := service.Program{Name: "worker", Build: func(context.Context, service.Env) (service.Built, error) {
		return service.Built{}, errors.New("open bus: refused")
	}}
	good := file(t, "admin: {listen: '127.0.0.1:0'}\nnats: {url: 'nats://127.0.0.1:1'}")
	for sentence, c := range map[string]struct {
		args []string
		code int
		want string
	}{
		"no configuration":       {nil, 2, "usage: worker --config FILE"},
		"an unknown flag":        {[]string{"--frob"}, 2, "flag provided but not defined: -frob"},
		"help":                   {[]string{"--help"}, 0, "configuration file"},
		"version":                {[]string{"--version"}, 0, "worker "},
		"a file that is missing": {[]string{"--config", "/none/plumb.yaml"}, 1, "worker: read configuration: open /none/plumb.yaml: no such file"},
		"a bad key":              {[]string{"--config", file(t, "a: 1\n")}, 1, "plumb.yaml:1: a: unknown key"},
		"no NATS server":         {[]string{"--config", file(t, "cluster: a\n")}, 1, "plumb.yaml: nats.url: is empty; name the NATS server"},
		"a bad log level":        {[]string{"--config", good, "--log-level", "loud"}, 1, `log level "loud" is not known`},
		"a part that won't open": {[]string{"--config", good}, 1, "worker: open bus: refused"},
	} {
		t.Run(sentence, func(t *testing.T) {
			var out bytes.Buffer
			if code := service.Main(fails, c.args, none, &out, &out); code != c.code {
				t.Errorf("exit code %d, want %d", code, c.code)
			}
			if !strings.Contains(out.String(), c.want) {
				t.Errorf("%q is not in %q", c.want, out.String())
			}
		})
	}
}

// A program answers on its admin address, ends on SIGTERM with 0, and closes
// what it opened last first, after its parts have ended.
func TestMainRunsUntilTheSignal(t *testing.T) {
	var order []string
	note := func(s string) func() { return func() { order = append(order, s) } }
	p := service.Program{Name: "worker", Build: func(_ context.Context, env service.Env) (service.Built, error) {
		return service.Built{
			Parts: []service.Part{{Name: "signal", Run: func(ctx context.Context) error {
				defer note("part")()
				if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
					return err
				}
				<-ctx.Done()
				return nil
			}}},
			Close: []func(){note("bus"), note("store")},
		}, nil
	}}
	var out bytes.Buffer
	code := service.Main(p, []string{"--config", file(t, "admin: {listen: '127.0.0.1:0'}\nnats: {url: 'nats://127.0.0.1:1'}")}, none, &out, &out)
	if got := fmt.Sprint(code, order); got != "0 [part store bus]" {
		t.Errorf("got %s\n%s", got, out.String())
	}
	if !strings.Contains(out.String(), `"msg":"started"`) || !strings.Contains(out.String(), `"msg":"ended"`) {
		t.Errorf("log is %s", out.String())
	}
}

func TestStartServesReadiness(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	l, err := service.Listen("", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_ = l.Close()
	p := service.Program{Name: "worker", Build: func(context.Context, service.Env) (service.Built, error) {
		return service.Built{Parts: []service.Part{{Name: "probe", Run: func(ctx context.Context) error {
			defer cancel()
			r, err := http.Get("http://" + address + "/readyz")
			if err != nil {
				return err
			}
			defer r.Body.Close()
			if r.StatusCode != http.StatusServiceUnavailable {
				return errors.New(r.Status)
			}
			return nil
		}}}, Checks: []service.Check{{Name: "bus", Ready: func(context.Context) error { return errors.New("away") }}}}, nil
	}}
	o := service.Options{ConfigFile: file(t, "admin: {listen: '"+address+"'}\nnats: {url: 'nats://127.0.0.1:1'}"), LogFormat: "text", LogLevel: "info"}
	if err := p.Start(ctx, o, none, new(bytes.Buffer)); err != nil {
		t.Error(err)
	}
}
