// Package slack tells a Slack channel of an alert, through an incoming webhook.
//
// Messages are Block Kit. Everything that comes from outside stands in
// plain_text or in code, escaped, so that it can neither mention people nor make
// links. It imports alert and alert/endpoint, whose errors are its own.
package slack

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/plumb-gitops/plumb/pkg/alert"
	"github.com/plumb-gitops/plumb/pkg/alert/endpoint"
	"github.com/plumb-gitops/plumb/pkg/fault"
)

// Notifier posts to one incoming webhook.
type Notifier struct{ endpoint *endpoint.Endpoint }

// New reads the file that holds the URL of the incoming webhook.
func New(urlFile string, o endpoint.Options) (*Notifier, error) {
	e, err := endpoint.Open(urlFile, o)
	if err != nil {
		return nil, err
	}
	return &Notifier{e}, nil
}

// Notify posts a message; nil once Slack accepted it.
func (n *Notifier) Notify(ctx context.Context, m alert.Message) error {
	data, err := json.Marshal(compose(m))
	if err != nil {
		return fault.Refuse("", fault.Place{}, "encode message: %w", err)
	}
	if err := n.endpoint.Post(ctx, data, nil); err != nil {
		return fmt.Errorf("tell Slack: %w", err)
	}
	return nil
}
