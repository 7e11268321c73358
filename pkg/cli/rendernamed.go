package cli

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/object"
)

// namedObjects stand in for the ConfigMaps and Secrets of a cluster. No error tells
// a value.
type namedObjects struct {
	objects map[object.ID]map[string]any // data; that of Secrets in Base64
	keys    map[string][]byte            // of --keys
}

// maxNamed is the largest file of objects in bytes.
const maxNamed = 4 << 20

func (n *namedObjects) load(file, namespace string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxNamed))
	if err != nil {
		return err
	}
	for in, i := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(raw))), 1; ; i++ {
		document, err := in.Read()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("document %d: no YAML", i) // what the parser says may quote a value
		case len(bytes.TrimSpace(document)) == 0:
			continue
		}
		if err := n.add(document, namespace); err != nil {
			return fmt.Errorf("document %d: %w", i, err)
		}
	}
}

var errNamed = errors.New("want a ConfigMap or a Secret of apiVersion v1, with strings in data or stringData")

func (n *namedObjects) add(document []byte, namespace string) error {
	var o struct {
		APIVersion, Kind string
		Metadata         struct{ Name, Namespace string }
		Data, StringData map[string]string
		Items            []json.RawMessage
	}
	if yaml.Unmarshal(document, &o) != nil {
		return errNamed // what the parser says may quote a value
	}
	if o.Kind == "List" {
		for _, item := range o.Items {
			if err := n.add(item, namespace); err != nil {
				return err
			}
		}
		return nil
	}
	if o.APIVersion != "v1" || o.Metadata.Name == "" || o.Kind != "ConfigMap" && o.Kind != "Secret" {
		return errNamed
	}
	if o.Metadata.Namespace != "" && o.Metadata.Namespace != namespace {
		return fmt.Errorf("%s %s is of namespace %s, and the Application of %s", o.Kind, o.Metadata.Name, o.Metadata.Namespace, namespace)
	}
	data := map[string]any{}
	for key, value := range o.Data {
		data[key] = value
	}
	for key, value := range o.StringData {
		data[key] = base64.StdEncoding.EncodeToString([]byte(value))
	}
	n.objects[object.ID{Kind: o.Kind, Namespace: namespace, Name: o.Metadata.Name}] = data
	return nil
}

// complete refuses what would have to be read of a cluster, and says which flag gives it.
func (n *namedObjects) complete(a *v1alpha1.Application) error {
	if s := a.Spec.Source.Substitute; s != nil {
		for i, from := range s.From {
			id := object.ID{Kind: from.Kind, Namespace: a.Namespace, Name: from.Name}
			if n.objects[id] == nil && !from.Optional {
				return fmt.Errorf("spec.source.substitute.from[%d]: %s is in the cluster; give it in a file with --vars-from", i, id.Human())
			}
		}
	}
	return nil
}

// read implements parameters.Read.
func (n *namedObjects) read(_ context.Context, id object.ID) (*unstructured.Unstructured, error) {
	data, known := n.objects[id]
	if !known {
		return nil, nil
	}
	return &unstructured.Unstructured{Object: map[string]any{"data": data}}, nil
}

// decryptionField is the field whose Secret --keys stands in for.
const decryptionField = "spec.source.decryption.secretRef"

// Secret implements source.Secrets.
func (n *namedObjects) Secret(_ context.Context, namespace, name string, place fault.Place) (map[string][]byte, error) {
	if place.Field == decryptionField && len(n.keys) > 0 {
		return n.keys, nil
	}
	id := object.ID{Kind: "Secret", Namespace: namespace, Name: name}
	data, known := n.objects[id]
	if !known {
		how := "give it in a file with --vars-from"
		if place.Field == decryptionField {
			how = "give its keys with --keys"
		}
		return nil, fault.Refuse("", place, "%s is in the cluster; %s", id.Human(), how)
	}
	out := map[string][]byte{}
	for key, value := range data {
		plain, err := base64.StdEncoding.DecodeString(value.(string))
		if err != nil {
			return nil, fault.Refuse("", place, "%s: the value of key %q is not base64", id.Human(), key)
		}
		out[key] = plain
	}
	return out, nil
}
