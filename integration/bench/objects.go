package main

import (
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"
)

// manifests of one application: ServiceAccount, Service, Deployment without
// replicas, Ingress. The second holds what a commit changes.
var manifests = []string{
	"apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: %[1]s}\n",
	"apiVersion: v1\nkind: Service\nmetadata: {name: %[1]s, annotations: {change: \"%[2]s\"}}\nspec:\n  selector: {app: %[1]s}\n  ports: [{name: http, port: 80, targetPort: 8080}]\n",
	"apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: %[1]s}\nspec:\n  replicas: 0\n  selector: {matchLabels: {app: %[1]s}}\n  template:\n    metadata: {labels: {app: %[1]s}}\n    spec:\n      serviceAccountName: %[1]s\n      containers:\n      - {name: main, image: \"example.com/app:1\", ports: [{containerPort: 8080}]}\n",
	"apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: %[1]s}\nspec:\n  rules:\n  - host: %[1]s.example.com\n    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: %[1]s, port: {name: http}}}}]}\n",
}

func objectsOf(i int, change string) []*unstructured.Unstructured {
	var objects []*unstructured.Unstructured
	for _, m := range manifests {
		u := &unstructured.Unstructured{}
		if err := yaml.Unmarshal(fmt.Appendf(nil, m, appName(i), change), &u.Object); err != nil {
			panic(err) // a manifest above is wrong
		}
		objects = append(objects, u)
	}
	return objects
}

// filesOf are the files of one application in the repository.
func filesOf(i int, change string) map[string][]byte {
	files := map[string][]byte{}
	for n, m := range manifests {
		files[fmt.Sprintf("apps/%s/%d.yaml", appName(i), n)] = fmt.Appendf(nil, m, appName(i), change)
	}
	return files
}

func resourceOf(u *unstructured.Unstructured) schema.GroupVersionResource {
	plural := map[string]string{"ServiceAccount": "serviceaccounts", "Service": "services", "Deployment": "deployments", "Ingress": "ingresses"}
	gvk := u.GroupVersionKind()
	return schema.GroupVersionResource{Group: gvk.Group, Version: gvk.Version, Resource: plural[gvk.Kind]}
}
