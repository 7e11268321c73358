package v1alpha1

import (
	"crypto/sha256"
	"encoding/hex"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/plumb-gitops/plumb/pkg/app"
)

// Group and Version of the API.
const (
	Group   = "plumb.dev"
	Version = "v1alpha1"
)

// GroupVersionKind and GroupVersionResource of Application.
var (
	GroupVersionKind     = schema.GroupVersionKind{Group: Group, Version: Version, Kind: "Application"}
	GroupVersionResource = schema.GroupVersionResource{Group: Group, Version: Version, Resource: "applications"}
)

// SetKind and SetResource are those of ApplicationSet.
var (
	SetKind     = schema.GroupVersionKind{Group: Group, Version: Version, Kind: "ApplicationSet"}
	SetResource = schema.GroupVersionResource{Group: Group, Version: Version, Resource: "applicationsets"}
)

// Names on ApplicationSets and on the Applications that they generate.
const (
	// SetFieldManager is the manager of what a set says of its Applications.
	SetFieldManager = "plumb-applicationset"
	// SetFinalizer keeps a deleted set until its Applications are let go.
	SetFinalizer = "plumb.dev/applicationset"
	// SetDigestAnnotation holds the digest of what the set last applied.
	SetDigestAnnotation = "plumb.dev/applicationset-digest"
)

// Names on objects in the cluster.
const (
	// FieldManager is the manager of every server-side apply.
	FieldManager = "plumb"
	// Finalizer keeps a deleted Application until its objects are pruned or orphaned.
	Finalizer = "plumb.dev/prune"
	// FirstClaimAnnotation holds, on an Application, what its first sync was about to create
	// when it added the Finalizer. It counts while no status says what is owned
	// (docs/decisions/021-first-claims.md).
	FirstClaimAnnotation = "plumb.dev/first-claim"

	// OwnerAnnotation holds <namespace>/<name> of the owning Application.
	OwnerAnnotation = "plumb.dev/application"
	// OwnerLabel holds OwnerHash of the owning Application.
	OwnerLabel = "plumb.dev/owner"

	// SyncAnnotation holds the id of a person's request for a sync.
	SyncAnnotation = "plumb.dev/sync"
	// OverrideWindowsAnnotation holds the id of the request that SyncAnnotation
	// carries, when that may write although a window is closed.
	OverrideWindowsAnnotation = "plumb.dev/override-windows"
	// ConfirmPruneAnnotation holds the digest of the plan whose prune a person confirmed.
	ConfirmPruneAnnotation = "plumb.dev/confirm-prune"
)

// Condition types of an Application.
const (
	ConditionReady     = "Ready"
	ConditionSynced    = "Synced"
	ConditionHealthy   = "Healthy"
	ConditionDrifted   = "Drifted"
	ConditionSuspended = "Suspended"
)

// Key returns the set's name within its cluster.
func (s *ApplicationSet) Key() app.Key { return app.Key{Namespace: s.Namespace, Name: s.Name} }

// Key returns the Application's name within its cluster.
func (a *Application) Key() app.Key { return app.Key{Namespace: a.Namespace, Name: a.Name} }

// OwnerHash is the value of OwnerLabel: 16 hex digits of the key's SHA-256.
func OwnerHash(key app.Key) string {
	sum := sha256.Sum256([]byte(key.String()))
	return hex.EncodeToString(sum[:8])
}

// TargetNamespace is where objects without a namespace go.
func (a *Application) TargetNamespace() string {
	if a.Spec.Destination.Namespace != "" {
		return a.Spec.Destination.Namespace
	}
	return a.Namespace
}
