package v1alpha1

import (
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
)

// Source names a tree in Git and how it is rendered: as the one of directory,
// kustomize, helm and jsonnet that is given, else as what its files say.
//
// +kubebuilder:validation:XValidation:rule="[has(self.directory), has(self.kustomize), has(self.helm), has(self.jsonnet)].filter(given, given).size() <= 1",message="at most one of directory, kustomize, helm and jsonnet can be given"
// +kubebuilder:validation:XValidation:rule="!has(self.ref) || !has(self.semver) || size(self.ref) == 0 || size(self.semver) == 0",message="ref and semver exclude each other"
// +kubebuilder:validation:XValidation:rule="has(self.repo) || has(self.helm) && has(self.helm.chart) && size(self.helm.chart) > 0",message="repo is required, unless helm names a chart of a repository"
type Source struct {
	// Repo is the URL of the repository: https or ssh, or oci for an artifact of a
	// registry. http is only for the hosts of git.insecureHosts. Credentials do not
	// belong into it. It may be left out with helm.chart, when no file beside the chart
	// is needed.
	//
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:XValidation:rule="self.matches('^((https?|ssh|oci)://[^\\\\s\\\\x00-\\\\x1f]+|[A-Za-z0-9_][A-Za-z0-9._-]*@[A-Za-z0-9][A-Za-z0-9.-]*:[^\\\\s\\\\x00-\\\\x1f]+)$')",message="must be an https, http, ssh or oci URL of a repository"
	// +kubebuilder:validation:XValidation:rule="!self.matches('^(https?|oci)://[^/]*@')",message="must not carry credentials; name them with secretRef"
	Repo string `json:"repo,omitempty"`

	// Ref is a branch, a tag, a full ref or a full commit SHA; empty: the remote's
	// HEAD. Of an artifact it is a tag or a digest; empty: latest.
	//
	// +kubebuilder:validation:MaxLength=255
	// +kubebuilder:validation:XValidation:rule="self.matches('^sha256:[0-9a-f]{64}$') || !self.matches('^[-/]|[/.]$|//|[.][.]|@[{]|[.]lock$|[\\\\x00-\\\\x20\\\\x7f~^:?*\\\\[\\\\\\\\]')",message="must be a branch, a tag, a full ref or a full commit SHA"
	Ref string `json:"ref,omitempty"`

	// Semver, instead of ref, is a range over tags: the newest tag in it.
	//
	// +kubebuilder:validation:MaxLength=255
	Semver string `json:"semver,omitempty"`

	// Path is the directory in the repository.
	//
	// +kubebuilder:default="."
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:XValidation:rule="!self.matches('^/|(^|/)[.][.](/|$)|[\\\\x00-\\\\x1f\\\\x7f\\\\\\\\]')",message="must be a relative path inside the repository, without .."
	Path string `json:"path,omitempty"`

	// SecretRef names the Secret that holds the credential: username and password,
	// bearerToken, identity and known_hosts (SSH), or githubAppID,
	// githubAppInstallationID and githubAppPrivateKey; for an artifact also
	// .dockerconfigjson. Without it, git.credentials decides by URL.
	SecretRef *LocalReference `json:"secretRef,omitempty"`

	// Submodules fetches the submodules of the commit, from the host of repo only
	// and with the same credential. Without it a submodule below path is an error.
	Submodules bool `json:"submodules,omitempty"`

	// Verify refuses commits that none of the keys signed.
	Verify *Verification `json:"verify,omitempty"`

	// Directory renders plain YAML and JSON files.
	Directory *DirectorySource `json:"directory,omitempty"`

	// Kustomize renders a kustomization.
	Kustomize *KustomizeSource `json:"kustomize,omitempty"`

	// Helm renders a chart.
	Helm *HelmSource `json:"helm,omitempty"`

	// Jsonnet renders Jsonnet files.
	Jsonnet *JsonnetSource `json:"jsonnet,omitempty"`

	// Substitute replaces ${name} in rendered objects.
	Substitute *Substitution `json:"substitute,omitempty"`

	// Decryption gives the keys for SOPS files.
	Decryption *Decryption `json:"decryption,omitempty"`
}

// Verification refuses commits that none of the keys signed.
type Verification struct {
	// SecretRef names the Secret whose every value is a public key: armored GPG, or
	// lines as of authorized_keys or allowed_signers (SSH).
	SecretRef LocalReference `json:"secretRef"`
}

// NamedSource is another tree, which the source refers to as $name/path: in value
// files, and from kustomizations, for which it stands in the root of the tree.
//
// +kubebuilder:validation:XValidation:rule="!has(self.ref) || !has(self.semver) || size(self.ref) == 0 || size(self.semver) == 0",message="ref and semver exclude each other"
type NamedSource struct {
	// Name by which value files and kustomizations refer to it.
	//
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	Name string `json:"name"`

	// Repo, Ref, Semver, SecretRef, Submodules and Verify are as those of source.
	//
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:XValidation:rule="self.matches('^((https?|ssh|oci)://[^\\\\s\\\\x00-\\\\x1f]+|[A-Za-z0-9_][A-Za-z0-9._-]*@[A-Za-z0-9][A-Za-z0-9.-]*:[^\\\\s\\\\x00-\\\\x1f]+)$')",message="must be an https, http, ssh or oci URL of a repository"
	// +kubebuilder:validation:XValidation:rule="!self.matches('^(https?|oci)://[^/]*@')",message="must not carry credentials; name them with secretRef"
	Repo string `json:"repo"`

	// +kubebuilder:validation:MaxLength=255
	// +kubebuilder:validation:XValidation:rule="self.matches('^sha256:[0-9a-f]{64}$') || !self.matches('^[-/]|[/.]$|//|[.][.]|@[{]|[.]lock$|[\\\\x00-\\\\x20\\\\x7f~^:?*\\\\[\\\\\\\\]')",message="must be a branch, a tag, a full ref or a full commit SHA"
	Ref string `json:"ref,omitempty"`

	// +kubebuilder:validation:MaxLength=255
	Semver string `json:"semver,omitempty"`

	SecretRef  *LocalReference `json:"secretRef,omitempty"`
	Submodules bool            `json:"submodules,omitempty"`
	Verify     *Verification   `json:"verify,omitempty"`
}

// DirectorySource renders the YAML and JSON files of a directory.
type DirectorySource struct {
	// Recurse takes the directories below too.
	Recurse bool `json:"recurse,omitempty"`

	// Include is a glob over paths below the source's path; empty: all YAML and JSON files.
	//
	// +kubebuilder:validation:MaxLength=1024
	Include string `json:"include,omitempty"`

	// Exclude is a glob over paths below the source's path.
	//
	// +kubebuilder:validation:MaxLength=1024
	Exclude string `json:"exclude,omitempty"`
}

// KustomizeSource changes what the kustomization says.
type KustomizeSource struct {
	// +kubebuilder:validation:MaxLength=253
	NamePrefix string `json:"namePrefix,omitempty"`

	// +kubebuilder:validation:MaxLength=253
	NameSuffix string `json:"nameSuffix,omitempty"`

	// Namespace is set on all objects, as the kustomization's namespace is.
	//
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^([a-z0-9]([-a-z0-9]*[a-z0-9])?)?$`
	Namespace string `json:"namespace,omitempty"`

	// Images are overrides: name=newName:newTag or name@digest.
	//
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=128
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=1024
	Images []string `json:"images,omitempty"`

	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	Patches []KustomizePatch `json:"patches,omitempty"`

	// Components are paths relative to the source's path.
	//
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=1024
	// +kubebuilder:validation:items:Pattern=`^[^/\\\x00-\x1f:][^\\\x00-\x1f:]*$`
	Components []string `json:"components,omitempty"`

	// +kubebuilder:validation:MaxProperties=64
	CommonLabels map[string]string `json:"commonLabels,omitempty"`

	// +kubebuilder:validation:MaxProperties=64
	CommonAnnotations map[string]string `json:"commonAnnotations,omitempty"`

	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	Replicas []KustomizeReplicas `json:"replicas,omitempty"`
}

// KustomizeReplicas sets spec.replicas of the workloads of a name.
type KustomizeReplicas struct {
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
	// +kubebuilder:validation:Minimum=0
	Count int64 `json:"count"`
}

// KustomizePatch is an inline patch and what it selects.
type KustomizePatch struct {
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=65536
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

// HelmSource renders a chart: the one at the source's path, or chart of repo.
//
// +kubebuilder:validation:XValidation:rule="(has(self.chart) && size(self.chart) > 0) == (has(self.repo) && size(self.repo) > 0)",message="chart and repo go together"
// +kubebuilder:validation:XValidation:rule="(has(self.chart) && size(self.chart) > 0) || !(has(self.version) || has(self.digest) || has(self.secretRef))",message="version, digest and secretRef are for a chart of repo"
type HelmSource struct {
	// ReleaseName; empty: the Application's name.
	//
	// +kubebuilder:validation:MaxLength=53
	// +kubebuilder:validation:Pattern=`^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*)?$`
	ReleaseName string `json:"releaseName,omitempty"`

	// ValueFiles are paths relative to the source's path, or $name/path in the tree
	// of the source of spec.sources that has this name; later ones win.
	//
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=1024
	// +kubebuilder:validation:items:Pattern=`^[^/\\\x00-\x1f:][^\\\x00-\x1f:]*$`
	ValueFiles []string `json:"valueFiles,omitempty"`

	// IgnoreMissingValueFiles passes over value files that are not there.
	IgnoreMissingValueFiles bool `json:"ignoreMissingValueFiles,omitempty"`

	// SkipCRDs leaves out the crds directories of the chart and its subcharts.
	SkipCRDs bool `json:"skipCRDs,omitempty"`

	// Values win over the files.
	//
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:validation:Type=object
	// +kubebuilder:pruning:PreserveUnknownFields
	Values *apiextensionsv1.JSON `json:"values,omitempty"`

	// Chart is the name of a chart in repo.
	//
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^([A-Za-z0-9][A-Za-z0-9._/-]*)?$`
	Chart string `json:"chart,omitempty"`

	// Repo is the URL of a Helm repository, or oci://.
	//
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:XValidation:rule="size(self) == 0 || self.matches('^(https?|oci)://[^@\\\\s\\\\x00-\\\\x1f]+$')",message="must be an https, http or oci URL without credentials"
	Repo string `json:"repo,omitempty"`

	// Version is the chart's version, or a range; empty: the newest that is no
	// pre-release.
	//
	// +kubebuilder:validation:MaxLength=253
	Version string `json:"version,omitempty"`

	// Digest pins the chart's archive (Helm repository) or manifest (registry).
	//
	// +kubebuilder:validation:Pattern=`^(sha256:[0-9a-f]{64})?$`
	Digest string `json:"digest,omitempty"`

	// SecretRef names the Secret for Repo, as that of a source does.
	SecretRef *LocalReference `json:"secretRef,omitempty"`
}

// JsonnetSource gives top-level arguments and external variables.
type JsonnetSource struct {
	// TLA are top-level arguments, as strings.
	//
	// +kubebuilder:validation:MaxProperties=128
	TLA map[string]string `json:"tla,omitempty"`

	// TLACode are top-level arguments, as Jsonnet expressions.
	//
	// +kubebuilder:validation:MaxProperties=128
	TLACode map[string]string `json:"tlaCode,omitempty"`

	// Ext are external variables, as strings.
	//
	// +kubebuilder:validation:MaxProperties=128
	Ext map[string]string `json:"ext,omitempty"`

	// ExtCode are external variables, as Jsonnet expressions.
	//
	// +kubebuilder:validation:MaxProperties=128
	ExtCode map[string]string `json:"extCode,omitempty"`

	// Libs are directories, relative to the root of the repository, in which imports are looked for.
	//
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=1024
	// +kubebuilder:validation:items:Pattern=`^[^/\\\x00-\x1f:][^\\\x00-\x1f:]*$`
	Libs []string `json:"libs,omitempty"`

	// File, relative to the source's path, is evaluated; empty: every .jsonnet file there.
	//
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:Pattern=`^([^/\\\x00-\x1f:][^\\\x00-\x1f:]*)?$`
	File string `json:"file,omitempty"`
}

// Substitution replaces ${name} in rendered objects; an unknown name is an error.
type Substitution struct {
	// +kubebuilder:validation:MaxProperties=128
	Vars map[string]string `json:"vars,omitempty"`
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=32
	From []SubstitutionFrom `json:"from,omitempty"`
}

// SubstitutionFrom names a ConfigMap or Secret whose keys are variables.
type SubstitutionFrom struct {
	// +kubebuilder:validation:Enum=ConfigMap;Secret
	Kind string `json:"kind"`
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name     string `json:"name"`
	Optional bool   `json:"optional,omitempty"`
}

// Decryption gives the keys for SOPS files.
type Decryption struct {
	// SecretRef names the Secret with the private keys: keys ending in .agekey hold
	// age identities, those ending in .asc armored PGP keys.
	SecretRef LocalReference `json:"secretRef"`
}
