package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// SyncPolicy is when and how revisions are applied. The API server fills the defaults.
type SyncPolicy struct {
	// Mode auto syncs by itself; manual syncs only when a person asks.
	//
	// +kubebuilder:default=auto
	Mode Mode `json:"mode,omitempty"`

	// Prune deletes what is in the inventory and no longer in Git.
	//
	// +kubebuilder:default=true
	Prune *bool `json:"prune,omitempty"`

	// PruneLimit is the share or the count of owned objects above which a prune
	// waits for a person's confirmation.
	//
	// +kubebuilder:default="50%"
	// +kubebuilder:validation:MaxLength=9
	// +kubebuilder:validation:XValidation:rule="self.matches('^(([0-9]|[1-9][0-9]|100)%|0|[1-9][0-9]{0,8})$')",message="must be a share of 0% to 100%, or a count"
	PruneLimit string `json:"pruneLimit,omitempty"`

	// PrunePropagation is how what depends on a pruned object goes: background (the
	// cluster deletes it afterwards), foreground (before) or orphan (it stays).
	//
	// +kubebuilder:default=background
	PrunePropagation Propagation `json:"prunePropagation,omitempty"`

	// Drift heal applies again what was changed in the cluster, warn only tells, off does not look.
	//
	// +kubebuilder:default=heal
	Drift DriftPolicy `json:"drift,omitempty"`

	// Interval of the sweeps for drift and for missed pushes; overrides driftScanner.interval.
	//
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]{1,5}([.][0-9]{1,9})?(ms|s|m|h))+$') && duration(self) >= duration('1s') && duration(self) <= duration('24h')",message="must be a duration from 1s to 24h, such as 30s or 5m"
	Interval *metav1.Duration `json:"interval,omitempty"`

	// Timeout of the whole attempt, health included.
	//
	// +kubebuilder:default="5m"
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]{1,5}([.][0-9]{1,9})?(ms|s|m|h))+$') && duration(self) >= duration('1s') && duration(self) <= duration('24h')",message="must be a duration from 1s to 24h, such as 30s or 5m"
	Timeout *metav1.Duration `json:"timeout,omitempty"`

	// Retry is how often a failed attempt is repeated at the same revision.
	//
	// +kubebuilder:default={}
	Retry *RetryPolicy `json:"retry,omitempty"`

	// Windows allow or deny syncs at times.
	//
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=32
	Windows []Window `json:"windows,omitempty"`

	// Checks hold a revision back until the Git host says that they are green.
	Checks *RequiredChecks `json:"checks,omitempty"`

	// OnFailure keep leaves a failed revision in place.
	//
	// +kubebuilder:default=keep
	// +kubebuilder:validation:XValidation:rule="self != 'revert'",message="spec.sync.onFailure: revert does not work yet; remove it"
	OnFailure FailurePolicy `json:"onFailure,omitempty"`
}

// RequiredChecks are commit statuses of the Git host that must be green.
type RequiredChecks struct {
	// Required are the names of commit statuses (contexts) or check runs.
	//
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=255
	Required []string `json:"required"`

	// Provider is the kind of Git host; empty: by the host of the repository.
	//
	// +kubebuilder:validation:Enum=github;gitlab;gitea
	Provider string `json:"provider,omitempty"`

	// SecretRef names the Secret with the API token (key token, else bearerToken,
	// else password); empty: that of the source.
	SecretRef *LocalReference `json:"secretRef,omitempty"`
}

// Propagation is how what depends on a deleted object goes.
//
// +kubebuilder:validation:Enum=background;foreground;orphan
type Propagation string

// Mode says what starts a sync.
//
// +kubebuilder:validation:Enum=auto;manual
type Mode string

// DriftPolicy says what is done about a change made in the cluster.
//
// +kubebuilder:validation:Enum=heal;warn;off
type DriftPolicy string

// FailurePolicy says what is done about a failed revision.
//
// +kubebuilder:validation:Enum=keep;revert
type FailurePolicy string

// Values of Mode, DriftPolicy and FailurePolicy.
const (
	ModeAuto   Mode = "auto"
	ModeManual Mode = "manual"

	PropagationBackground Propagation = "background"
	PropagationForeground Propagation = "foreground"
	PropagationOrphan     Propagation = "orphan"

	DriftHeal DriftPolicy = "heal"
	DriftWarn DriftPolicy = "warn"
	DriftOff  DriftPolicy = "off"

	OnFailureKeep   FailurePolicy = "keep"
	OnFailureRevert FailurePolicy = "revert"
)

// RetryPolicy is how often a failed attempt is repeated at the same revision.
//
// +kubebuilder:validation:XValidation:rule="!has(self.base) || !has(self.max) || duration(self.base) <= duration(self.max)",message="base must not be longer than max"
type RetryPolicy struct {
	// Limit of attempts after the first.
	//
	// +kubebuilder:default=5
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100
	Limit *int32 `json:"limit,omitempty"`

	// Base is the wait before the first retry; each wait doubles.
	//
	// +kubebuilder:default="5s"
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]{1,5}([.][0-9]{1,9})?(ms|s|m|h))+$') && duration(self) >= duration('1s') && duration(self) <= duration('24h')",message="must be a duration from 1s to 24h, such as 30s or 5m"
	Base *metav1.Duration `json:"base,omitempty"`

	// Max is the longest wait.
	//
	// +kubebuilder:default="3m"
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]{1,5}([.][0-9]{1,9})?(ms|s|m|h))+$') && duration(self) >= duration('1s') && duration(self) <= duration('24h')",message="must be a duration from 1s to 24h, such as 30s or 5m"
	Max *metav1.Duration `json:"max,omitempty"`
}

// Window allows or denies syncs for a duration from each time of its schedule.
type Window struct {
	// +kubebuilder:validation:Enum=allow;deny
	Kind string `json:"kind"`

	// Schedule is a cron expression of five fields: minute, hour, day of the month,
	// month and day of the week.
	//
	// +kubebuilder:validation:MinLength=9
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:XValidation:rule="self.matches('^ *[0-9*,/-]+ +[0-9*,/-]+ +[0-9*?,/-]+ +[0-9A-Za-z*,/-]+ +[0-9A-Za-z*?,/-]+ *$')",message="must be a cron expression of five fields, as 0 22 * * 1-5"
	Schedule string `json:"schedule"`

	// +kubebuilder:validation:Schemaless
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]{1,5}([.][0-9]{1,9})?(ms|s|m|h))+$') && duration(self) >= duration('1s') && duration(self) <= duration('24h')",message="must be a duration from 1s to 24h, such as 30s or 5m"
	Duration metav1.Duration `json:"duration"`

	// TimeZone is an IANA name; empty: UTC.
	//
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self.matches('^([A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*)?$') && self != 'Local'",message="must be the IANA name of a time zone, as Europe/Berlin"
	TimeZone string `json:"timeZone,omitempty"`
}
