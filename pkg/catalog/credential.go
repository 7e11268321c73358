package catalog

import (
	"context"
	"sync"
	"time"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/cluster"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/object"
)

// Credential is what a Secret holds for Git: a bearer token, or else a user
// name and a password. It prints as nothing.
type Credential struct{ Username, Password, BearerToken string }

// String hides the values from logs and errors.
func (Credential) String() string { return "(credential)" }

// GoString hides the values from %#v.
func (Credential) GoString() string { return "(credential)" }

// credentialAge is for how long a Secret that was read is believed: a push that
// concerns a thousand Applications of one namespace reads it once.
const credentialAge = 10 * time.Second

// Credential reads the Secret of the Application's own namespace that its
// source names. Without a secretRef it is empty. A Secret that is missing or
// lacks its fields is a SourceRefused fault; it repeats no value.
func (c *Catalog) Credential(ctx context.Context, a *v1alpha1.Application) (Credential, error) {
	ref := a.Spec.Source.SecretRef
	if ref == nil {
		return Credential{}, nil
	}
	place := fault.Place{Object: idOf(a.Key()).Human(), Field: "spec.source.secretRef"}
	data, err := c.secrets.read(ctx, object.ID{Kind: "Secret", Namespace: a.Namespace, Name: ref.Name})
	switch {
	case err != nil:
		return Credential{}, fault.As(fault.SourceRefused, err)
	case data == nil:
		return Credential{}, fault.Refuse(fault.SourceRefused, place, "Secret %s/%s does not exist", a.Namespace, ref.Name)
	}
	found := Credential{Username: string(data["username"]), Password: string(data["password"]), BearerToken: string(data["bearerToken"])}
	if found.BearerToken == "" && (found.Username == "" || found.Password == "") {
		return Credential{}, fault.Refuse(fault.SourceRefused, place,
			"Secret %s/%s must have username and password, or bearerToken", a.Namespace, ref.Name)
	}
	return found, nil
}

// Reread forgets what was read of the Secret that the Application's source
// names: it did not serve, or a person says that something changed.
func (c *Catalog) Reread(a *v1alpha1.Application) {
	if ref := a.Spec.Source.SecretRef; ref != nil {
		c.secrets.forget(object.ID{Kind: "Secret", Namespace: a.Namespace, Name: ref.Name})
	}
}

// secrets reads Secrets, and for a moment remembers those that were there.
type secrets struct {
	client *cluster.Client
	now    func() time.Time

	mu   sync.Mutex
	kept map[object.ID]keptSecret
}

type keptSecret struct {
	data map[string][]byte
	at   time.Time
}

func newSecrets(client *cluster.Client, now func() time.Time) *secrets {
	return &secrets{client: client, now: now, kept: map[object.ID]keptSecret{}}
}

func (s *secrets) forget(id object.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.kept, id)
}

func (s *secrets) read(ctx context.Context, id object.ID) (map[string][]byte, error) {
	s.mu.Lock()
	s.expire()
	kept, ok := s.kept[id]
	s.mu.Unlock()
	if ok {
		return kept.data, nil
	}
	var secret struct {
		Data map[string][]byte `json:"data"`
	}
	found, err := s.client.GetInto(ctx, id, "v1", &secret)
	if err != nil || !found {
		return nil, err
	}
	if secret.Data == nil {
		secret.Data = map[string][]byte{}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kept[id] = keptSecret{secret.Data, s.now()}
	return secret.Data, nil
}

func (s *secrets) expire() {
	for id, kept := range s.kept {
		if s.now().Sub(kept.at) > credentialAge {
			delete(s.kept, id)
		}
	}
}
