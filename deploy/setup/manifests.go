package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"sigs.k8s.io/yaml"
)

// manifests prints a Secret plumb-<service> for each service and for NATS, of the
// files in its directory. The administrator's key and kubeconfigs stay here: pods
// have an account of their own.
func manifests(out io.Writer, dir, namespace string) error {
	for _, name := range append([]string{"nats"}, services...) {
		data, err := contents(filepath.Join(dir, name))
		if err != nil {
			return fmt.Errorf("read secrets: %w", err)
		}
		text, err := yaml.Marshal(map[string]any{
			"apiVersion": "v1", "kind": "Secret", "type": "Opaque",
			"metadata": map[string]any{"name": "plumb-" + name, "namespace": namespace,
				"labels": map[string]any{"app.kubernetes.io/part-of": "plumb"}},
			"data": data,
		})
		if err != nil {
			return fmt.Errorf("print secrets: %w", err)
		}
		if _, err := fmt.Fprintf(out, "---\n%s", text); err != nil {
			return err
		}
	}
	return nil
}

func contents(dir string) (map[string][]byte, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	data := map[string][]byte{}
	for _, e := range entries {
		if !e.Type().IsRegular() || e.Name() == "kubeconfig" {
			continue
		}
		if data[e.Name()], err = os.ReadFile(filepath.Join(dir, e.Name())); err != nil {
			return nil, err
		}
	}
	return data, nil
}
