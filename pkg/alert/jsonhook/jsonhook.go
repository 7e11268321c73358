// Package jsonhook tells any HTTP service of an alert, as JSON.
//
// The format is documented in docs/alerting.md and is a promise: fields may be
// added, never renamed or given another meaning within one version. It imports
// alert and alert/endpoint, whose errors are its own.
package jsonhook

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/plumb-gitops/plumb/pkg/alert"
	"github.com/plumb-gitops/plumb/pkg/alert/endpoint"
	"github.com/plumb-gitops/plumb/pkg/fault"
)

// version of the format.
const version = "1"

// Notifier posts to one URL.
type Notifier struct{ endpoint *endpoint.Endpoint }

// New reads the file that holds the URL and, in its second line, the key that
// messages are signed with.
func New(urlFile string, o endpoint.Options) (*Notifier, error) {
	e, err := endpoint.Open(urlFile, o)
	if err != nil {
		return nil, err
	}
	return &Notifier{e}, nil
}

type body struct {
	Version     string      `json:"version"`
	ID          string      `json:"id"`
	Incident    string      `json:"incident"`
	State       string      `json:"state"`
	Title       string      `json:"title"`
	Application application `json:"application"`
	Reason      string      `json:"reason"`
	Stage       string      `json:"stage"`
	Message     string      `json:"message"`
	Advice      string      `json:"advice"`
	Revision    string      `json:"revision"`
	Repo        string      `json:"repo"`
	CommitURL   string      `json:"commitUrl"`
	Attempt     int64       `json:"attempt"`
	Trace       string      `json:"trace"`
	Since       time.Time   `json:"since"`
	At          time.Time   `json:"at"`
}

type application struct {
	Cluster   string `json:"cluster"`
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
}

// Notify posts a message; nil once it was accepted.
func (n *Notifier) Notify(ctx context.Context, m alert.Message) error {
	data, err := json.Marshal(body{
		Version: version, ID: m.ID(), Incident: m.Incident, State: m.State, Title: m.Title(),
		Application: application{Cluster: m.Cluster, Namespace: m.Namespace, Name: m.Name},
		Reason:      string(m.Reason), Stage: m.Stage, Message: m.Text, Advice: m.Advice,
		Revision: m.Revision, Repo: m.Repo, CommitURL: m.CommitURL, Attempt: m.Attempt, Trace: m.Trace,
		Since: m.Since.UTC(), At: m.At.UTC(),
	})
	if err != nil {
		return fault.Refuse("", fault.Place{}, "encode message: %w", err)
	}
	if err := n.endpoint.Post(ctx, data, func(s endpoint.Secrets) http.Header { return signed(s.Key, data) }); err != nil {
		return fmt.Errorf("tell webhook: %w", err)
	}
	return nil
}

// signed proves who sent the body, as Plumb's own generic webhook asks it of others.
func signed(key string, data []byte) http.Header {
	header := http.Header{}
	if key == "" {
		return header
	}
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write(data)
	header.Set("X-Signature-256", "sha256="+hex.EncodeToString(mac.Sum(nil)))
	return header
}
