// Package v1alpha1 is the Application API: its Go types and the generated CRD.
// It imports apimachinery only, and nothing of it can fail.
//
// The markers are the API: types, defaults and rules of the CRD are generated
// from them. Every field of the API has been here from the start, since one
// that the schema lacks would be dropped in silence; a field that does not work
// yet carries a rule that refuses it by name.
//
// +kubebuilder:object:generate=true
// +groupName=plumb.dev
package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Application says which path of which repository belongs into which namespace
// of this cluster, and by which policy.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Namespaced,shortName=papp
// +kubebuilder:printcolumn:name="Synced",type=string,JSONPath=`.status.conditions[?(@.type=="Synced")].status`
// +kubebuilder:printcolumn:name="Healthy",type=string,JSONPath=`.status.conditions[?(@.type=="Healthy")].status`
// +kubebuilder:printcolumn:name="Revision",type=string,JSONPath=`.status.revision`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Message",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:printcolumn:name="Reason",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Drifted",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Drifted")].status`
// +kubebuilder:printcolumn:name="Repo",type=string,priority=1,JSONPath=`.spec.source.repo`
// +kubebuilder:printcolumn:name="Ref",type=string,priority=1,JSONPath=`.spec.source.ref`
// +kubebuilder:printcolumn:name="Path",type=string,priority=1,JSONPath=`.spec.source.path`
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
	// Source names a tree in Git and how it is rendered.
	Source Source `json:"source"`

	// Sources are further trees, which Source refers to by their names.
	//
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=8
	Sources []NamedSource `json:"sources,omitempty"`

	// Destination is where objects without a namespace go.
	Destination Destination `json:"destination,omitempty"`

	// ServiceAccountName is the account of the Application's namespace that everything is done as.
	//
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="size(self) == 0 || self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')",message="must be the name of a ServiceAccount of the Application's own namespace"
	ServiceAccountName string `json:"serviceAccountName,omitempty"`

	// Sync is when and how revisions are applied.
	//
	// +kubebuilder:default={}
	Sync SyncPolicy `json:"sync,omitempty"`

	// DependsOn are the Applications that must be healthy first.
	//
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=32
	DependsOn []Dependency `json:"dependsOn,omitempty"`

	// Health judges objects of kinds that Plumb does not know.
	//
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	Health []HealthRule `json:"health,omitempty"`

	// Ignore names fields that Git does not own.
	//
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	Ignore []IgnoreRule `json:"ignore,omitempty"`

	// Images says which new images become commits.
	//
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:XValidation:rule="size(self) == 0",message="spec.images does not work yet; remove it"
	Images []ImagePolicy `json:"images,omitempty"`

	// Suspend stops syncs until it is false again, or until Suspension.Until.
	Suspend bool `json:"suspend,omitempty"`

	// Suspension tells who suspended the Application, why and until when.
	Suspension *Suspension `json:"suspension,omitempty"`

	// DeletionPolicy says what becomes of the objects when the Application is deleted.
	//
	// +kubebuilder:default=delete
	DeletionPolicy DeletionPolicy `json:"deletionPolicy,omitempty"`
}

// LocalReference names an object of the Application's own namespace.
type LocalReference struct {
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`
	Name string `json:"name"`
}

// Destination is where objects without a namespace go.
type Destination struct {
	// Namespace fills objects that name none; empty: the Application's.
	//
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^([a-z0-9]([-a-z0-9]*[a-z0-9])?)?$`
	Namespace string `json:"namespace,omitempty"`

	// CreateNamespace creates the namespace when it is missing.
	CreateNamespace bool `json:"createNamespace,omitempty"`
}

// DeletionPolicy says what becomes of the objects when the Application is deleted.
//
// +kubebuilder:validation:Enum=delete;orphan
type DeletionPolicy string

// Values of DeletionPolicy.
const (
	DeletionDelete DeletionPolicy = "delete"
	DeletionOrphan DeletionPolicy = "orphan"
)

// Dependency names an Application that must be healthy first.
type Dependency struct {
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`

	// Namespace; empty: the Application's.
	//
	// +kubebuilder:validation:MaxLength=63
	Namespace string `json:"namespace,omitempty"`
}

// Suspension tells who suspended an Application, why and until when.
type Suspension struct {
	// +kubebuilder:validation:MaxLength=253
	By string `json:"by,omitempty"`
	// +kubebuilder:validation:MaxLength=1024
	Reason string `json:"reason,omitempty"`
	// Until ends the suspension; empty: it lasts until suspend is false.
	Until *metav1.Time `json:"until,omitempty"`
}

// HealthRule judges objects of a kind by CEL expressions over the variable object.
// The first that is true in the order failed, inProgress, current decides.
type HealthRule struct {
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	APIVersion string `json:"apiVersion"`
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Kind string `json:"kind"`
	// Current is true when the object is healthy.
	// +kubebuilder:validation:MaxLength=4096
	Current string `json:"current,omitempty"`
	// InProgress is true while the object is on its way.
	// +kubebuilder:validation:MaxLength=4096
	InProgress string `json:"inProgress,omitempty"`
	// Failed is true when the object will not become healthy by itself.
	// +kubebuilder:validation:MaxLength=4096
	Failed string `json:"failed,omitempty"`
}

// IgnoreRule names fields that Git does not own: they are no difference and no
// drift, and a sync leaves them as they are in the cluster.
//
// +kubebuilder:validation:XValidation:rule="has(self.paths) || has(self.expressions)",message="paths or expressions are required"
type IgnoreRule struct {
	// +kubebuilder:validation:MaxLength=253
	Group string `json:"group,omitempty"`
	// Kind; "*": all.
	//
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Kind string `json:"kind"`
	// Name is a glob; empty: all.
	//
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name,omitempty"`
	// Namespace is a glob; empty: all.
	//
	// +kubebuilder:validation:MaxLength=63
	Namespace string `json:"namespace,omitempty"`
	// Paths are JSON pointers.
	//
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=1024
	// +kubebuilder:validation:items:Pattern=`^(/([^~/]|~[01])*)+$`
	Paths []string `json:"paths,omitempty"`
	// Expressions are CEL over the variable object; each gives a JSON pointer or a
	// list of them.
	//
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MaxLength=4096
	Expressions []string `json:"expressions,omitempty"`
}
