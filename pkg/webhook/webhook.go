// Package webhook knows the webhooks of Git hosts and registries: how each
// proves who it is, and what its payload says.
//
// It imports event, fault and go-github, and does no input or output. Nothing
// of a request is believed before Authenticate; what Parse cannot read is a
// permanent fault that names the field and never repeats a URL.
package webhook

import (
	"net/http"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/plumb-gitops/plumb/pkg/event"
	eventsv1 "github.com/plumb-gitops/plumb/proto/plumb/events/v1"
)

// Request is a delivery as it came in.
type Request struct {
	Header     http.Header
	PathSecret string // what follows the hook's name in the path
	Body       []byte
	Received   time.Time // signatures that carry a time are held against it
}

// Delivery is what a request says.
type Delivery struct {
	// ID is the provider's own id, equal for every repetition, as printable
	// ASCII; empty where the provider sends none.
	ID string
	// Events have Type, Subject and Data; the rest is the caller's.
	Events []event.Event
	// Ignored says why an authentic request holds no event.
	Ignored string
}

// Provider is one kind of webhook.
type Provider struct {
	name   string
	scheme scheme
	ids    []string // headers that carry the delivery id, best first
	form   bool     // also sends application/x-www-form-urlencoded with the JSON in "payload"
	parse  func(*payload) []proto.Message
}

// Providers lists all kinds, Git hosts first, then registries.
func Providers() []Provider {
	return []Provider{
		{"github", hmacHeader("sha256=", "X-Hub-Signature-256"), []string{"X-GitHub-Delivery"}, true, parseGitHub},
		{"gitlab", gitlabScheme, []string{"Idempotency-Key", "Webhook-Id"}, false, parseGitLab},
		{"gitea", giteaScheme, []string{"X-Gitea-Delivery", "X-Forgejo-Delivery", "X-Gogs-Delivery"}, true, parseGitea},
		{"bitbucket", hmacHeader("sha256=", "X-Hub-Signature"), []string{"X-Request-UUID"}, false, parseBitbucket},
		{"bitbucket-server", hmacHeader("sha256=", "X-Hub-Signature"), []string{"X-Request-Id"}, false, parseBitbucketServer},
		{"generic", hmacHeader("sha256=", "X-Signature-256"), nil, false, parseGeneric},
		{"dockerhub", pathScheme, nil, false, parseDockerHub},
		{"ghcr", hmacHeader("sha256=", "X-Hub-Signature-256"), []string{"X-GitHub-Delivery"}, true, parseGHCR},
		{"quay", pathScheme, nil, false, parseQuay},
		{"harbor", authorizationScheme, nil, false, parseHarbor},
		{"distribution", authorizationScheme, nil, false, parseDistribution},
	}
}

// ByName finds a provider.
func ByName(name string) (Provider, bool) {
	for _, p := range Providers() {
		if p.name == name {
			return p, true
		}
	}
	return Provider{}, false
}

// Name is the word for the provider in the configuration and in events.
func (p Provider) Name() string { return p.name }

// Parse reads an authentic request. ErrMediaType means a body of another kind
// than the provider sends; every other error is a permanent fault whose text
// says in one line what is wrong where.
func (p Provider) Parse(q Request) (Delivery, error) {
	body, err := p.json(q)
	if err != nil {
		return Delivery{}, err
	}
	in := &payload{header: q.Header, body: body, provider: p.name, id: p.deliveryID(q.Header)}
	if len(body) > maxValues && values(body) > maxValues { // none has more values than bytes
		in.fail("", "payload holds more than %d values", maxValues)
		return Delivery{}, in.err
	}
	data := p.parse(in)
	switch {
	case in.err != nil:
		return Delivery{}, in.err
	case len(data) > maxEvents:
		in.fail("", "payload names %d refs or images, at most %d", len(data), maxEvents)
		return Delivery{}, in.err
	case len(data) == 0 && in.ignored == "":
		in.ignored = "nothing in it concerns refs or images"
	}
	d := Delivery{ID: in.id, Ignored: in.ignored}
	for _, m := range data {
		d.Events = append(d.Events, toEvent(m, in.id))
	}
	return d, nil
}

// maxEvents bounds the work that one delivery can cause.
const maxEvents = 1000

func toEvent(data proto.Message, id string) event.Event {
	e := event.Event{Subject: event.SubjectOf(data), Data: data}
	switch d := data.(type) {
	case *eventsv1.GitPush:
		e.Type, d.DeliveryId = event.GitPush, id
	case *eventsv1.GitPullRequest:
		e.Type, d.DeliveryId = event.GitPullRequest, id
	case *eventsv1.ImagePush:
		e.Type, d.DeliveryId = event.ImagePush, id
	}
	return e
}

func (p Provider) deliveryID(h http.Header) string {
	for _, name := range p.ids {
		if id := h.Get(name); id != "" {
			return cleanID(id)
		}
	}
	return ""
}

// cleanID bounds an id from outside and keeps it printable; UUIDs stay as they are.
func cleanID(id string) string {
	if id == "" {
		return ""
	}
	return event.Token(id)
}
