package v1alpha1

// ImagePolicy says which tags of an image are taken into Git.
type ImagePolicy struct {
	// Name is the image without a tag.
	//
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	Name   string          `json:"name"`
	Policy ImageSelection  `json:"policy"`
	Write  *ImageWriteback `json:"write,omitempty"`
}

// ImageSelection orders tags; exactly one of its rules is set beside filter.
type ImageSelection struct {
	// +kubebuilder:validation:MaxLength=255
	Semver string `json:"semver,omitempty"`
	// +kubebuilder:validation:Enum=asc;desc
	Numerical string `json:"numerical,omitempty"`
	// +kubebuilder:validation:Enum=asc;desc
	Alphabetical string       `json:"alphabetical,omitempty"`
	Newest       bool         `json:"newest,omitempty"`
	Digest       bool         `json:"digest,omitempty"`
	Filter       *ImageFilter `json:"filter,omitempty"`
}

// ImageFilter keeps tags that match pattern and orders them by extract.
type ImageFilter struct {
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	Pattern string `json:"pattern"`
	// +kubebuilder:validation:MaxLength=1024
	Extract string `json:"extract,omitempty"`
}

// ImageWriteback is how a new tag becomes a commit.
type ImageWriteback struct {
	// +kubebuilder:validation:Enum=branch;pullRequest
	To string `json:"to,omitempty"`
	// +kubebuilder:validation:MaxLength=255
	Branch string `json:"branch,omitempty"`
	// +kubebuilder:validation:MaxLength=255
	Author    string          `json:"author,omitempty"`
	Signing   *LocalReference `json:"signing,omitempty"`
	SecretRef *LocalReference `json:"secretRef,omitempty"`
}
