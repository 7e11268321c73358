package cluster

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"

	"golang.org/x/sync/singleflight"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/plumb-gitops/plumb/pkg/fault"
)

// kind is how the API serves a kind.
type kind struct {
	gv         schema.GroupVersion
	resource   string
	namespaced bool
}

func (k kind) path(namespace string) string {
	path := groupVersionPath(k.gv)
	if k.namespaced && namespace != "" {
		path += "/namespaces/" + namespace
	}
	return path + "/" + k.resource
}

func groupVersionPath(gv schema.GroupVersion) string {
	if gv.Group == "" {
		return "/api/" + gv.Version
	}
	return "/apis/" + gv.Group + "/" + gv.Version
}

// kinds learns which kinds the cluster serves, one group version at a time and
// only those asked for: the whole list of a cluster is megabytes.
type kinds struct {
	read   func(ctx context.Context, path string, into any) error
	flight singleflight.Group

	mu       sync.Mutex
	versions map[schema.GroupVersion]map[string]kind // by kind
}

func newKinds(read func(context.Context, string, any) error) *kinds {
	return &kinds{read: read, versions: map[schema.GroupVersion]map[string]kind{}}
}

// find answers from what is known, and asks once when the kind is not.
func (k *kinds) find(ctx context.Context, gvk schema.GroupVersionKind) (kind, error) {
	if found, ok := k.known(gvk); ok {
		return found, nil
	}
	if !servable(gvk.GroupVersion()) {
		return kind{}, unknownKind(gvk)
	}
	served, shared, err := k.load(ctx, gvk.GroupVersion())
	if _, ok := served[gvk.Kind]; err == nil && !ok && shared {
		// The answer may have been asked for before the kind came; the next one is not.
		served, _, err = k.load(ctx, gvk.GroupVersion())
	}
	if err != nil {
		return kind{}, err
	}
	if found, ok := served[gvk.Kind]; ok {
		return found, nil
	}
	return kind{}, unknownKind(gvk)
}

// servable keeps what a source wrote as apiVersion inside its segments of the URL.
func servable(gv schema.GroupVersion) bool {
	group := gv.Group == "" || len(validation.IsDNS1123Subdomain(gv.Group)) == 0
	return group && len(validation.IsDNS1123Label(gv.Version)) == 0
}

func unknownKind(gvk schema.GroupVersionKind) error {
	return fault.Refuse("", fault.Place{}, "find kind %s of %s: %w; correct apiVersion and kind, or install its CustomResourceDefinition",
		gvk.Kind, gvk.GroupVersion(), ErrUnknownKind)
}

// any finds the kind in the wanted version or else in the one the cluster
// prefers: an object does not vanish with the version it was written in.
func (k *kinds) any(ctx context.Context, gk schema.GroupKind, version string) (kind, error) {
	if version != "" {
		found, err := k.find(ctx, gk.WithVersion(version))
		if err == nil || !isUnknownKind(err) {
			return found, err
		}
	}
	versions, err := k.served(ctx, gk.Group)
	if err != nil {
		return kind{}, err
	}
	for _, other := range versions {
		found, err := k.find(ctx, gk.WithVersion(other))
		if err == nil || !isUnknownKind(err) {
			return found, err
		}
	}
	return kind{}, unknownKind(gk.WithVersion(version))
}

// served lists the versions of a group, the preferred one first.
func (k *kinds) served(ctx context.Context, group string) ([]string, error) {
	if group == "" {
		return []string{"v1"}, nil
	}
	if len(validation.IsDNS1123Subdomain(group)) > 0 {
		return nil, nil
	}
	var answer metav1.APIGroup
	err := k.read(ctx, "/apis/"+group, &answer)
	if _, absent := hasStatus(err, http.StatusNotFound); absent {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	versions := []string{answer.PreferredVersion.Version}
	for _, v := range answer.Versions {
		if v.Version != answer.PreferredVersion.Version {
			versions = append(versions, v.Version)
		}
	}
	return versions, nil
}

func (k *kinds) known(gvk schema.GroupVersionKind) (kind, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	found, ok := k.versions[gvk.GroupVersion()][gvk.Kind]
	return found, ok
}

// forget makes the next look at a group version ask the cluster.
func (k *kinds) forget(gv schema.GroupVersion) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.versions, gv)
}

// load asks for the kinds of a group version; shared says that others got the same answer.
func (k *kinds) load(ctx context.Context, gv schema.GroupVersion) (served map[string]kind, shared bool, err error) {
	// One request serves all who wait for it, so that none of them may cancel it.
	ctx = context.WithoutCancel(ctx)
	loaded, err, shared := k.flight.Do(groupVersionPath(gv), func() (any, error) { return k.ask(ctx, gv) })
	if err != nil {
		return nil, shared, err
	}
	return loaded.(map[string]kind), shared, nil
}

func (k *kinds) ask(ctx context.Context, gv schema.GroupVersion) (map[string]kind, error) {
	served := map[string]kind{}
	var answer metav1.APIResourceList
	err := k.read(ctx, groupVersionPath(gv), &answer)
	if _, absent := hasStatus(err, http.StatusNotFound); err != nil && !absent {
		return nil, fmt.Errorf("list kinds of %s: %w", gv, err)
	}
	for _, r := range answer.APIResources {
		if !strings.Contains(r.Name, "/") { // subresources have a kind too
			served[r.Kind] = kind{gv: gv, resource: r.Name, namespaced: r.Namespaced}
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.versions[gv] = served
	return served, nil
}
