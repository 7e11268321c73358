// Package v1alpha1 is the Application API: its Go types, the generated CRD and
// the scheme. It imports apimachinery only.
//
// +kubebuilder:object:generate=true
// +groupName=plumb.dev
package v1alpha1

import (
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Application says which path of which repository belongs into which namespace
// of this cluster, and by which policy.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Namespaced,shortName=papp
type Application struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   ApplicationSpec   `json:"spec"`
	Status ApplicationStatus `json:"status,omitempty"`
}

// ApplicationList is a list of Applications.
//
// +kubebuilder:object:root=true
type ApplicationList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Application `json:"items"`
}

// ApplicationSpec is what the user wants.
type ApplicationSpec struct {
	Source             Source         `json:"source"`
	Destination        Destination    `json:"destination,omitempty"`
	ServiceAccountName string         `json:"serviceAccountName,omitempty"`
	Sync               SyncPolicy     `json:"sync,omitempty"`
	DependsOn          []Dependency   `json:"dependsOn,omitempty"`
	Health             []HealthRule   `json:"health,omitempty"`
	Ignore             []IgnoreRule   `json:"ignore,omitempty"`
	Images             []ImagePolicy  `json:"images,omitempty"`
	Suspend            bool           `json:"suspend,omitempty"`
	DeletionPolicy     DeletionPolicy `json:"deletionPolicy,omitempty"`
}

// Source names a tree in Git and how it is rendered.
type Source struct {
	Repo       string           `json:"repo"`
	Ref        string           `json:"ref,omitempty"`    // empty: the remote's HEAD
	Semver     string           `json:"semver,omitempty"` // beside Ref: newest tag in the range
	Path       string           `json:"path,omitempty"`
	SecretRef  *LocalReference  `json:"secretRef,omitempty"`
	Verify     *Verification    `json:"verify,omitempty"`
	Directory  *DirectorySource `json:"directory,omitempty"`
	Kustomize  *KustomizeSource `json:"kustomize,omitempty"`
	Helm       *HelmSource      `json:"helm,omitempty"`
	Jsonnet    *JsonnetSource   `json:"jsonnet,omitempty"`
	Substitute *Substitution    `json:"substitute,omitempty"`
	Decryption *Decryption      `json:"decryption,omitempty"`
}

// LocalReference names an object of the Application's own namespace.
type LocalReference struct {
	Name string `json:"name"`
}

// Verification refuses commits that none of the keys signed.
type Verification struct {
	SecretRef LocalReference `json:"secretRef"`
}

// DirectorySource renders the YAML and JSON files of a directory.
type DirectorySource struct {
	Recurse bool   `json:"recurse,omitempty"`
	Include string `json:"include,omitempty"` // glob over paths below Path
	Exclude string `json:"exclude,omitempty"`
}

// KustomizeSource changes what the kustomization says.
type KustomizeSource struct {
	NamePrefix   string            `json:"namePrefix,omitempty"`
	Images       []string          `json:"images,omitempty"` // name=newName:newTag or name@digest
	Patches      []KustomizePatch  `json:"patches,omitempty"`
	Components   []string          `json:"components,omitempty"`
	CommonLabels map[string]string `json:"commonLabels,omitempty"`
}

// KustomizePatch is an inline patch and what it selects.
type KustomizePatch struct {
	Patch  string             `json:"patch"`
	Target *KustomizeSelector `json:"target,omitempty"`
}

// KustomizeSelector selects objects by any of its parts.
type KustomizeSelector struct {
	Group              string `json:"group,omitempty"`
	Version            string `json:"version,omitempty"`
	Kind               string `json:"kind,omitempty"`
	Name               string `json:"name,omitempty"`
	Namespace          string `json:"namespace,omitempty"`
	LabelSelector      string `json:"labelSelector,omitempty"`
	AnnotationSelector string `json:"annotationSelector,omitempty"`
}

// HelmSource renders a chart: of the path, or of chart and repo.
type HelmSource struct {
	ReleaseName string                `json:"releaseName,omitempty"` // empty: the Application's name
	ValueFiles  []string              `json:"valueFiles,omitempty"`  // relative to Path
	Values      *apiextensionsv1.JSON `json:"values,omitempty"`
	Chart       string                `json:"chart,omitempty"`
	Repo        string                `json:"repo,omitempty"`
	Version     string                `json:"version,omitempty"`
}

// JsonnetSource gives top-level arguments and external variables.
type JsonnetSource struct {
	TLA map[string]string `json:"tla,omitempty"`
	Ext map[string]string `json:"ext,omitempty"`
}

// Substitution replaces ${name} in rendered objects; an unknown name is an error.
type Substitution struct {
	Vars map[string]string  `json:"vars,omitempty"`
	From []SubstitutionFrom `json:"from,omitempty"`
}

// SubstitutionFrom names a ConfigMap or Secret whose keys are variables.
type SubstitutionFrom struct {
	Kind     string `json:"kind"`
	Name     string `json:"name"`
	Optional bool   `json:"optional,omitempty"`
}

// Decryption gives the keys for SOPS files.
type Decryption struct {
	SecretRef LocalReference `json:"secretRef"`
}

// Destination is where objects without a namespace go.
type Destination struct {
	Namespace       string `json:"namespace,omitempty"` // empty: the Application's
	CreateNamespace bool   `json:"createNamespace,omitempty"`
}

// Mode, DriftPolicy, FailurePolicy and DeletionPolicy are the enumerations of the API.
type (
	Mode           string
	DriftPolicy    string
	FailurePolicy  string
	DeletionPolicy string
)

// Values of the enumerations.
const (
	ModeAuto   Mode = "auto"
	ModeManual Mode = "manual"

	DriftHeal DriftPolicy = "heal"
	DriftWarn DriftPolicy = "warn"
	DriftOff  DriftPolicy = "off"

	OnFailureKeep   FailurePolicy = "keep"
	OnFailureRevert FailurePolicy = "revert"

	DeletionDelete DeletionPolicy = "delete"
	DeletionOrphan DeletionPolicy = "orphan"
)

// SyncPolicy is when and how revisions are applied. The API server fills the defaults.
type SyncPolicy struct {
	Mode       Mode             `json:"mode,omitempty"`
	Prune      *bool            `json:"prune,omitempty"`
	PruneLimit string           `json:"pruneLimit,omitempty"` // a percentage or a count
	Drift      DriftPolicy      `json:"drift,omitempty"`
	Interval   *metav1.Duration `json:"interval,omitempty"` // overrides driftScanner.interval
	Timeout    *metav1.Duration `json:"timeout,omitempty"`  // the whole attempt, health included
	Retry      *RetryPolicy     `json:"retry,omitempty"`
	Windows    []Window         `json:"windows,omitempty"`
	OnFailure  FailurePolicy    `json:"onFailure,omitempty"`
}

// RetryPolicy is how often a failed attempt is repeated at the same revision.
type RetryPolicy struct {
	Limit *int32           `json:"limit,omitempty"`
	Base  *metav1.Duration `json:"base,omitempty"`
	Max   *metav1.Duration `json:"max,omitempty"`
}

// Window allows or denies syncs for a duration from each time of its schedule.
type Window struct {
	Kind     string          `json:"kind"`
	Schedule string          `json:"schedule"` // cron, five fields
	Duration metav1.Duration `json:"duration"`
	TimeZone string          `json:"timeZone,omitempty"` // IANA name; empty: UTC
}

// Dependency names an Application that must be healthy first.
type Dependency struct {
	Name      string `json:"name"`
	Namespace string `json:"namespace,omitempty"` // empty: the Application's
}

// HealthRule judges objects of a kind by CEL expressions.
type HealthRule struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Current    string `json:"current,omitempty"`
	InProgress string `json:"inProgress,omitempty"`
	Failed     string `json:"failed,omitempty"`
}

// IgnoreRule names fields that Git does not own.
type IgnoreRule struct {
	Group string   `json:"group,omitempty"`
	Kind  string   `json:"kind"`
	Name  string   `json:"name,omitempty"` // glob; empty: all
	Paths []string `json:"paths"`          // JSON pointers
}

// ImagePolicy says which tags of an image are taken into Git.
type ImagePolicy struct {
	Name   string          `json:"name"`
	Policy ImageSelection  `json:"policy"`
	Write  *ImageWriteback `json:"write,omitempty"`
}

// ImageSelection orders tags; exactly one of its rules is set beside Filter.
type ImageSelection struct {
	Semver       string       `json:"semver,omitempty"`
	Numerical    string       `json:"numerical,omitempty"`    // asc or desc
	Alphabetical string       `json:"alphabetical,omitempty"` // asc or desc
	Newest       bool         `json:"newest,omitempty"`
	Digest       bool         `json:"digest,omitempty"`
	Filter       *ImageFilter `json:"filter,omitempty"`
}

// ImageFilter keeps tags that match Pattern and orders them by Extract.
type ImageFilter struct {
	Pattern string `json:"pattern"`
	Extract string `json:"extract,omitempty"`
}

// ImageWriteback is how a new tag becomes a commit.
type ImageWriteback struct {
	To        string          `json:"to,omitempty"` // branch or pullRequest
	Branch    string          `json:"branch,omitempty"`
	Author    string          `json:"author,omitempty"`
	Signing   *LocalReference `json:"signing,omitempty"`
	SecretRef *LocalReference `json:"secretRef,omitempty"`
}

// ApplicationStatus is what the worker found and did. Only the worker writes it.
type ApplicationStatus struct {
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// Revision is the newest commit at which this Application's inputs were applied.
	Revision    string       `json:"revision,omitempty"`
	Inputs      *Inputs      `json:"inputs,omitempty"`
	LastAttempt *LastAttempt `json:"lastAttempt,omitempty"`
	Resources   *Resources   `json:"resources,omitempty"`
	Inventory   *Inventory   `json:"inventory,omitempty"`
	// History holds the last ten applied revisions, newest first.
	// +listType=atomic
	History []HistoryEntry `json:"history,omitempty"`
	// Requested echoes the annotation plumb.dev/sync of the newest attempt.
	Requested string `json:"requested,omitempty"`
	// Confirmed echoes the annotation plumb.dev/confirm-prune of the newest attempt.
	Confirmed string `json:"confirmed,omitempty"`
}

// Inputs is all that the render read, listed or looked for in vain.
type Inputs struct {
	// Digest is SHA-256 over the Git hashes of the path and of Outside.
	Digest string `json:"digest"`
	// Outside are the paths outside the source path.
	// +listType=atomic
	Outside []string `json:"outside,omitempty"`
}

// Result is how an attempt ended, or that it has not ended yet.
type Result string

// Results of an attempt.
const (
	ResultRunning    Result = "running"
	ResultWaiting    Result = "waiting" // all is written, health is awaited until Deadline
	ResultSucceeded  Result = "succeeded"
	ResultFailed     Result = "failed"
	ResultSuperseded Result = "superseded"
)

// LastAttempt is the newest attempt.
type LastAttempt struct {
	Number    int64            `json:"number"`
	Revision  string           `json:"revision,omitempty"`
	Reason    string           `json:"reason,omitempty"` // of the request: push, spec, drift, manual, dependency or retry
	Result    Result           `json:"result"`
	Message   string           `json:"message,omitempty"`
	StartedAt metav1.MicroTime `json:"startedAt"`
	Duration  *metav1.Duration `json:"duration,omitempty"`
	Trace     string           `json:"trace,omitempty"` // 32 hex digits
	// Deadline ends the wait for health.
	Deadline *metav1.Time `json:"deadline,omitempty"`
	// Failures counts failed attempts in a row at this revision and generation.
	Failures int32 `json:"failures,omitempty"`
	// Inputs is what a failed attempt read: another attempt is worth it only
	// when they change.
	Inputs *Inputs `json:"inputs,omitempty"`
}

// Resources counts the owned objects by health.
type Resources struct {
	Total       int32 `json:"total"`
	Healthy     int32 `json:"healthy"`
	Progressing int32 `json:"progressing"`
	Degraded    int32 `json:"degraded"`
}

// Inventory is what the Application owns.
type Inventory struct {
	// +listType=atomic
	Entries []InventoryEntry `json:"entries,omitempty"`
}

// InventoryEntry is one owned object.
type InventoryEntry struct {
	ID      string `json:"id"` // <group>/<kind>/<namespace>/<name>
	Version string `json:"version"`
	UID     string `json:"uid,omitempty"` // empty: about to be created
	// Digest is that of the rendered object last applied; empty: not applied yet.
	Digest string `json:"digest,omitempty"`
	// Fields is the hash of our own managedFields entry after that apply.
	Fields string `json:"fields,omitempty"`
}

// HistoryEntry is one applied revision.
type HistoryEntry struct {
	Revision string           `json:"revision"`
	Digest   string           `json:"digest,omitempty"`
	At       metav1.Time      `json:"at"`
	Duration *metav1.Duration `json:"duration,omitempty"`
	Reason   string           `json:"reason,omitempty"`
	Trace    string           `json:"trace,omitempty"`
}
