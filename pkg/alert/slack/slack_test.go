package slack_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plumb-gitops/plumb/pkg/alert"
	"github.com/plumb-gitops/plumb/pkg/alert/alerttest"
	"github.com/plumb-gitops/plumb/pkg/alert/endpoint"
	"github.com/plumb-gitops/plumb/pkg/alert/slack"
	eventsv1 "github.com/plumb-gitops/plumb/proto/plumb/events/v1"
)

var update = flag.Bool("update", false, "write testdata anew")

func open(file string, o endpoint.Options) (alerttest.Notifier, error) {
	n, err := slack.New(file, o)
	return n, err
}

func TestConforms(t *testing.T) { alerttest.Conform(t, open, alerttest.BlockKit) }

func notifier(tb testing.TB) (*slack.Notifier, *alerttest.Server) {
	tb.Helper()
	server := alerttest.NewServer(alerttest.BlockKit)
	tb.Cleanup(server.Close)
	file := filepath.Join(tb.TempDir(), "url")
	if err := os.WriteFile(file, []byte(server.URL), 0o600); err != nil {
		tb.Fatal(err)
	}
	n, err := slack.New(file, endpoint.Options{})
	if err != nil {
		tb.Fatal(err)
	}
	return n, server
}

func TestMessages(t *testing.T) {
	bare := alerttest.Incident()
	bare.Repo, bare.Trace, bare.Stage = "git@git.example:2222/x", "", ""
	for name, c := range map[string]struct {
		incident *eventsv1.Incident
		state    string
	}{
		"opened":         {alerttest.Incident(), alert.Opened},
		"recovered":      {alerttest.Incident(), alert.Recovered},
		"without-link":   {bare, alert.Opened},
		"with-mentions":  {alerttest.Hostile()["mentions"], alert.Opened},
		"with-its-code":  {alerttest.Hostile()["code"], alert.Opened},
		"with-line-ends": {alerttest.Hostile()["line ends"], alert.Opened},
	} {
		t.Run(name, func(t *testing.T) {
			n, server := notifier(t)
			if c.state == alert.Recovered {
				c.incident.Message = ""
			}
			if err := n.Notify(t.Context(), alert.MessageOf(c.incident, c.state)); err != nil {
				t.Fatal(err)
			}
			var got bytes.Buffer
			if err := json.Indent(&got, server.Accepted()[0].Body, "", "  "); err != nil {
				t.Fatal(err)
			}
			golden(t, filepath.Join("testdata", name+".json"), got.String()+"\n")
		})
	}
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s:\n%s", file, diff)
	}
}

// The stand-in is as strict as Slack: what it must refuse, it does.
func TestTheStandInRefusesWhatSlackWould(t *testing.T) {
	section := func(text string) string {
		return `{"text": "x", "blocks": [{"type": "section", "text": {"type": "mrkdwn", "verbatim": true, "text": "` + text + `"}}]}`
	}
	for sentence, body := range map[string]string{
		"no blocks":              `{"text": "x", "blocks": []}`,
		"51 blocks":              `{"text": "x", "blocks": [` + strings.TrimSuffix(strings.Repeat(`{"type": "divider"},`, 51), ",") + `]}`,
		"an unknown field":       `{"text": "x", "blocks": [{"type": "divider"}], "channel": "#general"}`,
		"no fallback":            `{"blocks": [{"type": "divider"}]}`,
		"a long header":          `{"text": "x", "blocks": [{"type": "header", "text": {"type": "plain_text", "text": "` + strings.Repeat("x", 151) + `"}}]}`,
		"a header with markup":   `{"text": "x", "blocks": [{"type": "header", "text": {"type": "mrkdwn", "verbatim": true, "text": "x"}}]}`,
		"a long section":         section(strings.Repeat("x", 3001)),
		"an empty section":       section(""),
		"a mention":              section("<!channel>"),
		"a person":               section("<@U1>"),
		"a link to a script":     section("<javascript:alert(1)|01234567>"),
		"a link over plain http": section("<http://h|01234567>"),
		"a bare ampersand":       section("a & b"),
		"code that does not end": section("```a"),
		"eleven fields":          `{"text": "x", "blocks": [{"type": "section", "fields": [` + strings.TrimSuffix(strings.Repeat(`{"type": "plain_text", "text": "x"},`, 11), ",") + `]}]}`,
	} {
		r := httptest.NewRequest(http.MethodPost, "/", nil)
		r.Header.Set("Content-Type", "application/json")
		if err := alerttest.BlockKit(r, []byte(body)); err == nil {
			t.Errorf("%s was accepted", sentence)
		}
	}
}

func FuzzWhateverAnIncidentSaysSlackTakesIt(f *testing.F) {
	for _, i := range alerttest.Hostile() {
		f.Add(i.GetName(), i.GetMessage(), i.GetRepo(), i.GetRevision())
	}
	n, server := notifier(f)
	f.Fuzz(func(t *testing.T, name, message, repo, revision string) {
		i := alerttest.Incident()
		i.Name, i.Reason, i.Message, i.Repo, i.Revision = name, name, message, repo, revision
		for _, state := range []string{alert.Opened, alert.Recovered} {
			if err := n.Notify(t.Context(), alert.MessageOf(i, state)); err != nil {
				t.Fatal(err, server.Refused())
			}
		}
	})
}
