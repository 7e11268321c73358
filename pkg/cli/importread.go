package cli

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"

	"github.com/plumb-gitops/plumb/pkg/cluster"
	"github.com/plumb-gitops/plumb/pkg/moving"
	"github.com/plumb-gitops/plumb/pkg/object"
)

// maxImport is the largest file with objects of another tool, in bytes.
const maxImport = 64 << 20

// read gathers the objects, from files or from the cluster.
func (m *move) read(ctx context.Context) ([]map[string]any, error) {
	if len(m.files) == 0 {
		return m.readCluster(ctx)
	}
	var all []map[string]any
	for _, file := range m.files {
		m.progress.step("reading " + file)
		found, err := m.readFiles(file)
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	return all, nil
}

func (m *move) readFiles(file string) ([]map[string]any, error) {
	if file == "-" {
		return documents("standard input", m.env.In)
	}
	info, err := os.Stat(file)
	if err != nil {
		return nil, fmt.Errorf("read objects: %w", err)
	}
	if !info.IsDir() {
		return objectsOf(file)
	}
	var all []map[string]any
	err = filepath.WalkDir(file, func(name string, d fs.DirEntry, err error) error {
		switch extension := filepath.Ext(name); {
		case err != nil:
			return fmt.Errorf("read objects: %w", err)
		case d.IsDir() && name != file && strings.HasPrefix(d.Name(), "."):
			return fs.SkipDir
		case !d.Type().IsRegular() || extension != ".yaml" && extension != ".yml" && extension != ".json":
			return nil
		}
		found, err := objectsOf(name)
		if err != nil {
			fmt.Fprintf(m.env.Err, "lost: %s is passed over\n", cell(err.Error())) // templates of charts, as a rule
			return nil
		}
		all = append(all, found...)
		return nil
	})
	return all, err
}

func objectsOf(file string) ([]map[string]any, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("read objects: %w", err)
	}
	defer f.Close()
	return documents(file, f)
}

// documents reads YAML or JSON documents; a List is its items.
func documents(name string, from io.Reader) ([]map[string]any, error) {
	raw, err := io.ReadAll(io.LimitReader(from, maxImport+1))
	if err != nil {
		return nil, fmt.Errorf("read objects: %w", err)
	}
	if len(raw) > maxImport {
		return nil, fmt.Errorf("read objects: %s is larger than %d MiB", name, maxImport>>20)
	}
	var all []map[string]any
	in := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(raw)))
	for i := 1; ; i++ {
		document, err := in.Read()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read objects: %s, document %d: %w", name, i, err)
		}
		object, err := mapping(document)
		if err != nil {
			return nil, fmt.Errorf("read objects: %s, document %d: it is no YAML mapping", name, i) // the error may quote a Secret
		}
		all = append(all, items(object)...)
	}
}

// mapping reads a document; numbers stay what they are.
func mapping(document []byte) (map[string]any, error) {
	asJSON, err := yaml.YAMLToJSON(document)
	if err != nil {
		return nil, err
	}
	var object map[string]any
	return object, kjson.UnmarshalCaseSensitivePreserveInts(asJSON, &object)
}

func items(object map[string]any) []map[string]any {
	list, is := object["items"].([]any)
	if kind, _ := object["kind"].(string); !is || !strings.HasSuffix(kind, "List") {
		if len(object) == 0 {
			return nil
		}
		return []map[string]any{object}
	}
	var all []map[string]any
	for _, item := range list {
		if o, is := item.(map[string]any); is {
			all = append(all, o)
		}
	}
	return all
}

func (m *move) open() (*cluster.Client, error) {
	if m.client == nil {
		kube, err := cluster.Open(cluster.Options{Kubeconfig: m.kubeconfig, UserAgent: "plumb-import"})
		if err != nil {
			return nil, err
		}
		m.client = kube.As(cluster.Identity{})
	}
	return m.client, nil
}

// readCluster lists what the tool has in the cluster.
func (m *move) readCluster(ctx context.Context) ([]map[string]any, error) {
	client, err := m.open()
	if err != nil {
		return nil, err
	}
	if m.all {
		m.namespace = ""
	}
	var all []map[string]any
	served := false
	for _, k := range m.kinds {
		m.progress.step("reading " + k.kind + " objects of the cluster")
		found, known, err := m.list(ctx, client, k)
		if err != nil && k.group == "" && ctx.Err() == nil {
			fmt.Fprintf(m.env.Err, "lost: %s\n", cell(err.Error())) // who may see Applications may not see Secrets
			continue
		}
		if err != nil {
			return nil, err
		}
		served = served || known && k.group != ""
		for _, u := range found {
			all = append(all, u.Object)
		}
	}
	if !served {
		return nil, fmt.Errorf("the cluster knows no kind of %s; read its objects from files with -f", m.title)
	}
	if len(all) == 0 && m.namespace != "" {
		return nil, fmt.Errorf("nothing of %s is in namespace %s; name another with -n, or all with -A", m.title, m.namespace)
	}
	return all, nil
}

// list reads a kind in the first version that the cluster serves; none when it knows none.
func (m *move) list(ctx context.Context, client *cluster.Client, k listed) (found []unstructured.Unstructured, known bool, err error) {
	for _, version := range k.versions {
		gvk := schema.GroupVersionKind{Group: k.group, Version: version, Kind: k.kind}
		if k.name != "" {
			return m.named(ctx, client, k)
		}
		found, err := client.List(ctx, gvk, m.namespace, k.labels)
		if !errors.Is(err, cluster.ErrUnknownKind) {
			return found, true, err
		}
	}
	return nil, false, nil
}

func (m *move) named(ctx context.Context, client *cluster.Client, k listed) ([]unstructured.Unstructured, bool, error) {
	namespace := or(m.namespace, m.tool.namespace)
	u, err := client.Get(ctx, object.ID{Group: k.group, Kind: k.kind, Namespace: namespace, Name: k.name}, k.versions[0])
	if err != nil || u == nil {
		return nil, true, err
	}
	return []unstructured.Unstructured{*u}, true, nil
}

// more reads what the objects refer to, where they are of the cluster, and converts
// once more when there is any.
func (m *move) more(ctx context.Context, objects []map[string]any, result moving.Result) (moving.Result, error) {
	if len(m.files) > 0 || len(result.Wanted) == 0 {
		return result, nil
	}
	known := len(objects)
	for _, want := range result.Wanted {
		m.progress.step("reading " + want.Kind + " " + want.Namespace + "/" + want.Name)
		u, err := m.client.Get(ctx, object.ID{Kind: want.Kind, Namespace: want.Namespace, Name: want.Name}, "v1")
		if err != nil {
			return result, err
		}
		if u != nil {
			objects = append(objects, u.Object)
		}
	}
	if len(objects) == known {
		return result, nil
	}
	return m.convert(objects, m.options), nil
}

// create makes the objects; one that exists is left as it is.
func (m *move) create(ctx context.Context, objects []map[string]any) error {
	client, err := m.open()
	if err != nil {
		return err
	}
	var failed error
	for _, o := range objects {
		u := &unstructured.Unstructured{Object: o}
		id := object.ID{Group: u.GroupVersionKind().Group, Kind: u.GetKind(), Namespace: u.GetNamespace(), Name: u.GetName()}
		m.progress.step("creating " + id.Human())
		if err := client.Create(ctx, id, u.GroupVersionKind().Version, o); err != nil {
			fmt.Fprintf(m.env.Err, "failed: %s\n", cell(err.Error()))
			failed = errTold
			continue
		}
		fmt.Fprintf(m.env.Out, "created %s\n", cell(moving.Name(o)))
	}
	m.progress.step("")
	return failed
}
