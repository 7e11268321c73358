package v1alpha1

import _ "embed"

// The generator is pinned in proto/tools.
//go:generate sh -c "go tool -modfile=../../../proto/tools/go.mod controller-gen object paths=."
//go:generate sh -c "go tool -modfile=../../../proto/tools/go.mod controller-gen crd paths=. output:crd:dir=. && mv plumb.dev_applications.yaml crd.yaml && mv plumb.dev_applicationsets.yaml applicationset-crd.yaml"

//go:embed crd.yaml
var crd []byte

//go:embed applicationset-crd.yaml
var setCRD []byte

// CRD is the CustomResourceDefinition of Application, as YAML.
func CRD() []byte { return append([]byte(nil), crd...) }

// SetCRD is the CustomResourceDefinition of ApplicationSet, as YAML.
func SetCRD() []byte { return append([]byte(nil), setCRD...) }

// CRDs are all CustomResourceDefinitions of this API, in the order to install them.
func CRDs() [][]byte { return [][]byte{CRD(), SetCRD()} }
