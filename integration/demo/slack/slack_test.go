package slack_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plumb-gitops/plumb/integration/demo/slack"
	"github.com/plumb-gitops/plumb/pkg/alert"
	"github.com/plumb-gitops/plumb/pkg/alert/alerttest"
	"github.com/plumb-gitops/plumb/pkg/alert/endpoint"
	notifier "github.com/plumb-gitops/plumb/pkg/alert/slack"
)

func start(t *testing.T) *slack.Server {
	t.Helper()
	s, err := slack.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return s
}

func TestPlumbsOwnMessageIsTakenAndReadable(t *testing.T) {
	s := start(t)
	file := filepath.Join(t.TempDir(), "url")
	if err := os.WriteFile(file, []byte(s.URL()), 0o600); err != nil {
		t.Fatal(err)
	}
	n, err := notifier.New(file, endpoint.Options{})
	if err != nil {
		t.Fatal(err)
	}
	i := alerttest.Incident()
	if err := n.Notify(t.Context(), alert.MessageOf(i, alert.Opened)); err != nil {
		t.Fatal(err)
	}
	got := s.Messages.Since(0)
	if len(got) != 1 || got[0].Refused != nil {
		t.Fatalf("got %+v", got)
	}
	text := strings.Join(got[0].Lines, "\n")
	for _, want := range []string{"Application: team-a/web", "Reason: RenderFailed", i.GetMessage(), "What to do", "trace " + i.GetTrace()} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in:\n%s", want, text)
		}
	}
	if strings.Contains(text, "`") || got[0].Head != "team-a/web on prod: RenderFailed" {
		t.Errorf("head %q, lines:\n%s", got[0].Head, text)
	}
}

func TestItRefusesWhatSlackRefuses(t *testing.T) {
	for sentence, c := range map[string]struct {
		path, body string
		status     int
	}{
		"no blocks":      {"", `{"text":"x"}`, 400},
		"no JSON":        {"", `{`, 400},
		"another secret": {"x", `{}`, 404},
	} {
		t.Run(sentence, func(t *testing.T) {
			s := start(t)
			r, err := http.Post(s.URL()+c.path, "application/json", strings.NewReader(c.body))
			if err != nil {
				t.Fatal(err)
			}
			defer r.Body.Close()
			refused := 0
			for _, m := range s.Messages.Since(0) {
				if m.Refused != nil {
					refused++
				}
			}
			if diff := cmp.Diff(c.status, r.StatusCode); diff != "" || (refused == 1) != (c.status == 400) {
				t.Errorf("refused %d, status (-want +got):\n%s", refused, diff)
			}
		})
	}
}
