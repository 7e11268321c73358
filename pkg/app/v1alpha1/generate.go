package v1alpha1

import _ "embed"

// The generator is pinned in proto/tools.
//go:generate sh -c "go tool -modfile=../../../proto/tools/go.mod controller-gen object paths=."
//go:generate sh -c "go tool -modfile=../../../proto/tools/go.mod controller-gen crd paths=. output:crd:stdout > crd.yaml"

//go:embed crd.yaml
var crd []byte

// CRD is the CustomResourceDefinition of Application, as YAML.
func CRD() []byte { return append([]byte(nil), crd...) }
