package render

import (
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/plumb-gitops/plumb/pkg/object"
	"github.com/plumb-gitops/plumb/pkg/render/substitute"
)

// finish makes of what a renderer gave what is applied.
func finish(objects []object.Object, q Request) ([]object.Object, error) {
	if q.Source.Substitute != nil {
		var err error
		if objects, err = substitute.Apply(objects, q.Variables); err != nil {
			return nil, err
		}
	}
	for _, o := range objects {
		if err := refuseCiphertext(o); err != nil {
			return nil, err
		}
	}
	return objects, nil
}

// ciphertext begins every value that SOPS has encrypted.
const ciphertext = "ENC[AES256_GCM,"

// refuseCiphertext keeps what was not decrypted out of the cluster, where it would
// pass for a password.
func refuseCiphertext(o object.Object) error {
	content := o.Content()
	if block, ok := content["sops"].(map[string]any); ok && block["mac"] != nil {
		return refuseAt(o, "sops")
	}
	kind := o.GroupVersionKind()
	encoded := ""
	switch {
	case kind.Group == "" && kind.Kind == "Secret":
		encoded = "data"
	case kind.Group == "" && kind.Kind == "ConfigMap":
		encoded = "binaryData"
	}
	for _, key := range slices.Sorted(maps.Keys(content)) {
		if field := findCiphertext(content[key], key, key == encoded); field != "" {
			return refuseAt(o, field)
		}
	}
	return nil
}

func refuseAt(o object.Object, field string) error {
	place := o.Place()
	place.Field = field
	return refuse(place, "the value is encrypted by SOPS and was not decrypted, so it is not applied; give the private key with spec.source.decryption, and encrypt whole files that are read by the render")
}

// findCiphertext returns the first field below v that holds some.
func findCiphertext(v any, field string, encoded bool) string {
	switch v := v.(type) {
	case string:
		if encoded {
			if data, err := base64.StdEncoding.DecodeString(v); err == nil && strings.Contains(string(data), ciphertext) {
				return field
			}
		}
		if strings.Contains(v, ciphertext) {
			return field
		}
	case []any:
		for i, item := range v {
			if found := findCiphertext(item, fmt.Sprintf("%s[%d]", field, i), encoded); found != "" {
				return found
			}
		}
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			if found := findCiphertext(v[key], field+"."+key, encoded); found != "" {
				return found
			}
		}
	}
	return ""
}
