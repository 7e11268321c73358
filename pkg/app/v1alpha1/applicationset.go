package v1alpha1

import (
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ApplicationSet makes Applications of its own namespace: one of its template for
// each set of parameters that its generators yield.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Namespaced,shortName=pappset
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Applications",type=integer,JSONPath=`.status.count`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Message",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:printcolumn:name="Blocked",type=string,priority=1,JSONPath=`.status.plan`
type ApplicationSet struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   ApplicationSetSpec   `json:"spec"`
	Status ApplicationSetStatus `json:"status,omitempty"`
}

// ApplicationSetList is a list of ApplicationSets.
//
// +kubebuilder:object:root=true
type ApplicationSetList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []ApplicationSet `json:"items"`
}

// ApplicationSetSpec is what the user wants.
type ApplicationSetSpec struct {
	// Generators yield parameters, one after the other.
	//
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	Generators []Generator `json:"generators"`

	// Template is the Application; each string of it is a Go template over one set of
	// parameters.
	Template ApplicationTemplate `json:"template"`

	// TemplatePatch is a Go template of YAML, merged into the Application (RFC 7386):
	// for values that are no strings, and for what only some Applications have.
	//
	// +kubebuilder:validation:MaxLength=65536
	TemplatePatch string `json:"templatePatch,omitempty"`

	// ServiceAccountName is the account of the set's namespace that Applications are
	// written as; empty: worker.defaultServiceAccount.
	//
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="size(self) == 0 || self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')",message="must be the name of a ServiceAccount of the set's own namespace"
	ServiceAccountName string `json:"serviceAccountName,omitempty"`

	// Sync is what becomes of Applications that are no longer generated.
	//
	// +kubebuilder:default={}
	Sync SetSyncPolicy `json:"sync,omitempty"`

	// DeletionPolicy says what becomes of the Applications when the set is deleted.
	//
	// +kubebuilder:default=delete
	DeletionPolicy DeletionPolicy `json:"deletionPolicy,omitempty"`
}

// SetSyncPolicy is what becomes of Applications that are no longer generated.
type SetSyncPolicy struct {
	// Prune deletes them.
	//
	// +kubebuilder:default=true
	Prune *bool `json:"prune,omitempty"`

	// PruneLimit is the share or the count of the set's Applications above which
	// their deletion waits for a person's confirmation.
	//
	// +kubebuilder:default="50%"
	// +kubebuilder:validation:MaxLength=9
	// +kubebuilder:validation:XValidation:rule="self.matches('^(([0-9]|[1-9][0-9]|100)%|0|[1-9][0-9]{0,8})$')",message="must be a share of 0% to 100%, or a count"
	PruneLimit string `json:"pruneLimit,omitempty"`
}

// Generator yields parameters. Exactly one of its fields is given.
//
// +kubebuilder:validation:XValidation:rule="[has(self.list), has(self.gitDirectories), has(self.gitFiles), has(self.clusters), has(self.matrix)].filter(given, given).size() == 1",message="exactly one of list, gitDirectories, gitFiles, clusters and matrix must be given"
type Generator struct {
	PlainGenerator `json:",inline"`

	// Matrix yields every pair of the parameters of two generators.
	Matrix *MatrixGenerator `json:"matrix,omitempty"`
}

// PlainGenerator is a generator that is made of no others.
type PlainGenerator struct {
	// List yields the parameters written down here.
	List *ListGenerator `json:"list,omitempty"`

	// GitDirectories yields the directories of a repository.
	GitDirectories *GitDirectoriesGenerator `json:"gitDirectories,omitempty"`

	// GitFiles yields what YAML and JSON files of a repository say.
	GitFiles *GitFilesGenerator `json:"gitFiles,omitempty"`

	// Clusters yields this cluster alone.
	Clusters *ClustersGenerator `json:"clusters,omitempty"`
}

// ListGenerator yields the parameters written down in it.
type ListGenerator struct {
	// Elements are mappings, each one set of parameters.
	//
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=1000
	// +kubebuilder:validation:items:Type=object
	// +kubebuilder:validation:items:XPreserveUnknownFields
	Elements []apiextensionsv1.JSON `json:"elements"`
}

// GitSource is a ref of a Git repository.
//
// +kubebuilder:validation:XValidation:rule="!has(self.secretRef) || !self.repo.contains('{{')",message="a repo that is a template cannot be given a secretRef: whoever chooses the parameters would choose where the credential goes"
type GitSource struct {
	// Repo is the URL of the repository, as that of an Application's source.
	//
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:XValidation:rule="self.contains('{{') || self.matches('^((https?|ssh)://[^\\\\s\\\\x00-\\\\x1f]+|[A-Za-z0-9_][A-Za-z0-9._-]*@[A-Za-z0-9][A-Za-z0-9.-]*:[^\\\\s\\\\x00-\\\\x1f]+)$')",message="must be an https, http or ssh URL of a repository"
	// +kubebuilder:validation:XValidation:rule="!self.matches('^https?://[^/]*@')",message="must not carry credentials; name them with secretRef"
	Repo string `json:"repo"`

	// Ref is a branch, a tag, a full ref or a full commit SHA; empty: the remote's HEAD.
	//
	// +kubebuilder:validation:MaxLength=255
	Ref string `json:"ref,omitempty"`

	// SecretRef names the Secret that holds the credential, as that of an
	// Application's source does.
	SecretRef *LocalReference `json:"secretRef,omitempty"`

	// PathParameter is the name of the parameter that holds the path.
	//
	// +kubebuilder:default=path
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[A-Za-z_][A-Za-z0-9_]*$`
	PathParameter string `json:"pathParameter,omitempty"`
}

// GitDirectoriesGenerator yields path.path, path.basename, path.basenameNormalized
// and path.segments of each directory.
type GitDirectoriesGenerator struct {
	GitSource `json:",inline"`

	// Include are globs over paths from the root: * stays within a segment, ** is any
	// number of segments.
	//
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=1024
	Include []string `json:"include"`

	// Exclude are globs of directories that are left out, with all below them.
	//
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=1024
	Exclude []string `json:"exclude,omitempty"`
}

// GitFilesGenerator yields the mappings of YAML and JSON files: each document, and
// each element of a document that is a list, is one set of parameters. Beside them
// stand those of the file's directory, path.filename and path.filenameNormalized.
type GitFilesGenerator struct {
	GitSource `json:",inline"`

	// Files are globs over paths from the root, as those of gitDirectories.
	//
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=1024
	Files []string `json:"files"`
}

// ClustersGenerator yields cluster.name and cluster.labels of this cluster, as its
// configuration has them.
type ClustersGenerator struct {
	// Selector are labels that the cluster must have; else nothing is yielded.
	//
	// +kubebuilder:validation:MaxProperties=64
	Selector map[string]string `json:"selector,omitempty"`
}

// MatrixGenerator yields every pair of the parameters of two generators, as one.
type MatrixGenerator struct {
	// Generators are two; strings of the second are templates over the parameters of
	// the first.
	//
	// +listType=atomic
	// +kubebuilder:validation:MinItems=2
	// +kubebuilder:validation:MaxItems=2
	Generators []MatrixPart `json:"generators"`
}

// MatrixPart is one of the two generators of a matrix.
//
// +kubebuilder:validation:XValidation:rule="[has(self.list), has(self.gitDirectories), has(self.gitFiles), has(self.clusters)].filter(given, given).size() == 1",message="exactly one of list, gitDirectories, gitFiles and clusters must be given"
type MatrixPart struct {
	PlainGenerator `json:",inline"`
}

// ApplicationTemplate is the Application before its templates are carried out.
type ApplicationTemplate struct {
	Metadata TemplateMetadata `json:"metadata"`

	// Spec is that of an Application. It is checked once its templates are carried out.
	//
	// +kubebuilder:validation:Type=object
	// +kubebuilder:pruning:PreserveUnknownFields
	// +kubebuilder:validation:Schemaless
	Spec apiextensionsv1.JSON `json:"spec"`
}

// TemplateMetadata is the metadata of a generated Application.
type TemplateMetadata struct {
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	Name string `json:"name"`
	// +kubebuilder:validation:MaxProperties=64
	Labels map[string]string `json:"labels,omitempty"`
	// +kubebuilder:validation:MaxProperties=64
	Annotations map[string]string `json:"annotations,omitempty"`
}

// ApplicationSetStatus is what the worker found and did. Only the worker writes it.
type ApplicationSetStatus struct {
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// Count is how many Applications the set has.
	Count int32 `json:"count"`
	// Applications are those of the last expansion, by name.
	// +listType=atomic
	Applications []SetApplication `json:"applications,omitempty"`
	// Omitted is how many did not fit.
	Omitted int32 `json:"omitted,omitempty"`
	// Sources are what was read of Git.
	// +listType=atomic
	Sources []SetSource `json:"sources,omitempty"`
	// Plan is the digest of the deletions that wait for a confirmation by the
	// annotation plumb.dev/confirm-prune.
	Plan string `json:"plan,omitempty"`
	// Confirmed echoes the annotation plumb.dev/confirm-prune of the last expansion.
	Confirmed string `json:"confirmed,omitempty"`
}

// SetApplication is one Application of a set.
type SetApplication struct {
	Name string `json:"name"`
	// Result is synced, failed, kept (no longer generated), blocked (its deletion waits
	// for a confirmation) or deleting.
	Result  string `json:"result"`
	Message string `json:"message,omitempty"`
}

// SetSource is what was read of a Git repository.
type SetSource struct {
	Repo     string `json:"repo"`
	Ref      string `json:"ref,omitempty"`
	Revision string `json:"revision"`
}
