package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ApplicationStatus is what the worker found and did. Only the worker writes it, so that
// the API server need not keep who owns which of its fields at every write.
// +structType=atomic
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
	// Inventory is what the Application owns: entries of id (group/kind/namespace/name),
	// version, uid, digest of the render last applied, fields (hash of Plumb's
	// managedFields after it), hook.
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:pruning:PreserveUnknownFields
	Inventory *Inventory `json:"inventory,omitempty"`
	// History holds the last ten applied revisions, newest first: revision, digest of the
	// inputs, at, duration, reason, trace.
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:pruning:PreserveUnknownFields
	History History `json:"history,omitempty"`
	// Requested echoes the annotation plumb.dev/sync of the newest attempt.
	Requested string `json:"requested,omitempty"`
	// Confirmed echoes the annotation plumb.dev/confirm-prune of the newest attempt.
	Confirmed string `json:"confirmed,omitempty"`
	// Waiting is a revision that is held back, by what and until when.
	Waiting *Waiting `json:"waiting,omitempty"`
}

// Waiting is a revision that is held back.
type Waiting struct {
	Revision string `json:"revision,omitempty"`
	// Reason is WindowClosed, DependencyNotReady, ChecksPending, ChecksFailed or Suspended.
	Reason  string      `json:"reason"`
	Message string      `json:"message,omitempty"`
	Since   metav1.Time `json:"since"`
	// Until is when it goes on at the latest; empty: when what it waits for happens.
	Until *metav1.Time `json:"until,omitempty"`
}

// Inputs is all that the render read, listed or looked for in vain.
type Inputs struct {
	// Digest is SHA-256 over the Git hashes of the path and of Outside.
	Digest string `json:"digest"`
	// Outside are the paths outside the source path.
	// +listType=atomic
	Outside []string `json:"outside,omitempty"`
	// Sources are the revisions of spec.sources, of a chart and its dependencies.
	// +listType=atomic
	Sources []SourceRevision `json:"sources,omitempty"`
	// Objects are what was read of the cluster: <kind>/<name>@<resourceVersion>.
	// +listType=atomic
	Objects []string `json:"objects,omitempty"`
}

// SourceRevision is the commit or digest that was read of a further source.
type SourceRevision struct {
	Name     string `json:"name"`
	Revision string `json:"revision"`
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
	// FetchedAt is when the fetch began that found Revision.
	FetchedAt *metav1.MicroTime `json:"fetchedAt,omitempty"`
	Duration  *metav1.Duration  `json:"duration,omitempty"`
	Trace     string            `json:"trace,omitempty"` // 32 hex digits
	// Deadline ends the wait for health.
	Deadline *metav1.Time `json:"deadline,omitempty"`
	// RetryAt is when a failed attempt is repeated, or one whose deletions wait for
	// another Application; empty: it is not.
	RetryAt *metav1.Time `json:"retryAt,omitempty"`
	// Failures counts failed attempts in a row at this revision and generation.
	Failures int32 `json:"failures,omitempty"`
	// Inputs is what an attempt that failed or was superseded read: another one is worth
	// it only when they change. Of one under way it is the sources.
	Inputs *Inputs `json:"inputs,omitempty"`
	// Run is the number of the attempt that began the hooks that this one goes on
	// with, after a worker ended amid them; else its own.
	Run int64 `json:"run,omitempty"`
	// Objects are what became of each object that was not left as it was.
	// +listType=atomic
	Objects []ObjectResult `json:"objects,omitempty"`
	// Omitted is how many objects did not fit.
	Omitted int32 `json:"omitted,omitempty"`
}

// ObjectResult is what became of one object and why.
type ObjectResult struct {
	ID string `json:"id"` // <group>/<kind>/<namespace>/<name>
	// Result is created, updated, adopted, replaced, pruned, kept, failed or skipped.
	Result  string `json:"result"`
	Message string `json:"message,omitempty"`
}

// Resources counts the owned objects by health.
type Resources struct {
	Total       int32 `json:"total"`
	Healthy     int32 `json:"healthy"`
	Progressing int32 `json:"progressing"`
	Degraded    int32 `json:"degraded"`
}

// Inventory is what the Application owns. The API server takes it as it comes: to check
// it and History, value by value, is a good part of what a status write costs.
type Inventory struct {
	Entries []InventoryEntry `json:"entries,omitempty"`

	// Foreign is what stands there instead, if it cannot be read: then nobody knows what
	// the Application owns.
	Foreign []byte `json:"-"`
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
	// Hook is the phase of an object that is a hook; its health does not count.
	Hook string `json:"hook,omitempty"`
}

// History are applied revisions, newest first.
type History []HistoryEntry

// HistoryEntry is one applied revision.
type HistoryEntry struct {
	Revision string           `json:"revision"`
	Digest   string           `json:"digest,omitempty"`
	At       metav1.Time      `json:"at"`
	Duration *metav1.Duration `json:"duration,omitempty"`
	Reason   string           `json:"reason,omitempty"`
	Trace    string           `json:"trace,omitempty"`
}
