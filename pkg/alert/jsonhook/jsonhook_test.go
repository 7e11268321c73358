package jsonhook_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plumb-gitops/plumb/pkg/alert"
	"github.com/plumb-gitops/plumb/pkg/alert/alerttest"
	"github.com/plumb-gitops/plumb/pkg/alert/endpoint"
	"github.com/plumb-gitops/plumb/pkg/alert/jsonhook"
)

func open(file string, o endpoint.Options) (alerttest.Notifier, error) {
	n, err := jsonhook.New(file, o)
	return n, err
}

func TestConforms(t *testing.T) { alerttest.Conform(t, open, alerttest.PostedJSON) }

// The format is a promise to people's programs: docs/alerting.md shows this.
func TestTheFormatIsWhatIsDocumented(t *testing.T) {
	got := send(t, "", alert.Opened)
	page, err := os.ReadFile("../../../docs/alerting.md")
	if err != nil {
		t.Fatal(err)
	}
	_, example, _ := strings.Cut(string(page), "```json\n")
	example, _, _ = strings.Cut(example, "```")
	var indented bytes.Buffer
	if err := json.Indent(&indented, got.Body, "", "  "); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.TrimSpace(example), indented.String()); diff != "" {
		t.Errorf("docs/alerting.md shows another format:\n%s", diff)
	}
}

func TestARecoverySaysSo(t *testing.T) {
	var got map[string]any
	if err := json.Unmarshal(send(t, "", alert.Recovered).Body, &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"state": "recovered", "advice": "", "incident": "prod/team-a/web", "since": "2026-09-14T10:30:00Z", "at": "2026-09-14T10:31:30Z"}
	for key, value := range want {
		if got[key] != value {
			t.Errorf("%s is %v, want %v", key, got[key], value)
		}
	}
}

func TestTheSecondLineOfTheFileSigns(t *testing.T) {
	signed, plain := send(t, "key of ours", alert.Opened), send(t, "", alert.Opened)
	mac := hmac.New(sha256.New, []byte("key of ours"))
	mac.Write(signed.Body)
	if got, want := signed.Header.Get("X-Signature-256"), "sha256="+hex.EncodeToString(mac.Sum(nil)); got != want {
		t.Errorf("signature %q, want %q", got, want)
	}
	if got := plain.Header.Get("X-Signature-256"); got != "" {
		t.Errorf("signature %q without a key", got)
	}
}

func send(t *testing.T, key, state string) alerttest.Request {
	t.Helper()
	server := alerttest.NewServer(func(r *http.Request, body []byte) error { return alerttest.PostedJSON(r, body) })
	defer server.Close()
	file := filepath.Join(t.TempDir(), "url")
	if err := os.WriteFile(file, fmt.Appendf(nil, "%s\n%s\n", server.URL, key), 0o600); err != nil {
		t.Fatal(err)
	}
	n, err := jsonhook.New(file, endpoint.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Notify(t.Context(), alert.MessageOf(alerttest.Incident(), state)); err != nil {
		t.Fatal(err)
	}
	return server.Accepted()[0]
}
