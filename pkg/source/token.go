package source

import (
	"context"
	"strings"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/catalog"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/git"
)

// keyToken is the key of a Secret with the token of an API.
const keyToken = "token"

// Token is what the API of the source's Git host may be asked with: what the Secret
// of spec.sync.checks holds, else what the source's credential gives; empty when
// that is none, or an SSH key. Errors name the place and never a value.
func (p Policy) Token(ctx context.Context, a *v1alpha1.Application, store *git.Store) (string, error) {
	if c := a.Spec.Sync.Checks; c != nil && c.SecretRef != nil {
		return p.secretToken(ctx, a, c.SecretRef.Name)
	}
	query, err := p.Query(ctx, a)
	if err != nil {
		return "", err
	}
	return store.Token(ctx, query.Credential)
}

func (p Policy) secretToken(ctx context.Context, a *v1alpha1.Application, name string) (string, error) {
	place := catalog.PlaceOf(a, "spec.sync.checks.secretRef")
	data, err := p.Catalog.Secret(ctx, a.Namespace, name, place)
	if err != nil {
		return "", fault.As(fault.SourceRefused, err)
	}
	for _, key := range []string{keyToken, keyBearerToken, keyPassword} {
		if value := strings.TrimSpace(string(data[key])); value != "" {
			return value, nil
		}
	}
	return "", fault.Refuse(fault.SourceRefused, place, "Secret %s/%s holds no token; give it the key %s", a.Namespace, name, keyToken)
}

// Pinned is the Application as it was applied last: each of its sources at the
// revision that its status names. The status must tell what was applied.
func Pinned(a *v1alpha1.Application) *v1alpha1.Application {
	at := map[string]string{}
	for _, s := range a.Status.Inputs.Sources {
		at[s.Name] = s.Revision
	}
	pinned := a.DeepCopy()
	pinned.Spec.Source.Ref, pinned.Spec.Source.Semver = a.Status.Revision, ""
	for i, s := range pinned.Spec.Sources {
		if revision := at[s.Name]; revision != "" {
			pinned.Spec.Sources[i].Ref, pinned.Spec.Sources[i].Semver = revision, ""
		}
	}
	if version, digest, found := strings.Cut(at[chartMount], "@"); found && pinned.Spec.Source.Helm != nil {
		pinned.Spec.Source.Helm.Version, pinned.Spec.Source.Helm.Digest = version, digest
	}
	return pinned
}
