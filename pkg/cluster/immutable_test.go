package cluster_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plumb-gitops/plumb/integration/kubetest"
	"github.com/plumb-gitops/plumb/pkg/cluster"
	"github.com/plumb-gitops/plumb/pkg/fault"
)

func TestImmutable(t *testing.T) {
	const template = "template: {metadata: {labels: {app: a}}, spec: {restartPolicy: RESTART, containers: [{name: a, image: IMAGE}]}}"
	pod := func(restart, image string) string {
		return strings.NewReplacer("RESTART", restart, "IMAGE", image).Replace(template)
	}
	tests := map[string]struct {
		before, after string
		fields        []string // nil: not immutable
		says          string
	}{
		"selector of a Deployment": {
			before: "{apiVersion: apps/v1, kind: Deployment, metadata: {name: a}, spec: {replicas: 0, selector: {matchLabels: {app: a}}, " + pod("Always", "a") + "}}",
			after:  "{apiVersion: apps/v1, kind: Deployment, metadata: {name: a}, spec: {replicas: 0, selector: {matchLabels: {app: a, b: c}}, template: {metadata: {labels: {app: a, b: c}}, spec: {containers: [{name: a, image: a}]}}}}",
			fields: []string{"spec.selector"}, says: "plumb.dev/replace: allowed",
		},
		"template of a Job": {
			before: "{apiVersion: batch/v1, kind: Job, metadata: {name: a}, spec: {suspend: true, " + pod("Never", "a") + "}}",
			after:  "{apiVersion: batch/v1, kind: Job, metadata: {name: a}, spec: {suspend: true, " + pod("Never", "b") + "}}",
			fields: []string{"spec.template.spec"}, says: "plumb.dev/replace: allowed",
		},
		"spec of a StatefulSet": {
			before: "{apiVersion: apps/v1, kind: StatefulSet, metadata: {name: a}, spec: {replicas: 0, serviceName: a, selector: {matchLabels: {app: a}}, " + pod("Always", "a") + "}}",
			after:  "{apiVersion: apps/v1, kind: StatefulSet, metadata: {name: a}, spec: {replicas: 0, serviceName: b, selector: {matchLabels: {app: a}}, " + pod("Always", "a") + "}}",
			fields: []string{"spec.serviceName"}, says: "plumb.dev/replace: allowed",
		},
		"clusterIP of a Service": {
			before: "{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {ports: [{port: 1}]}}",
			after:  "{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {clusterIP: None, ports: [{port: 1}]}}",
			fields: []string{"spec.clusterIPs[0]"}, says: "plumb.dev/replace: allowed",
		},
		"claim": {
			before: "{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: a}, spec: {accessModes: [ReadWriteOnce], storageClassName: x, resources: {requests: {storage: 1Gi}}}}",
			after:  "{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: a}, spec: {accessModes: [ReadWriteOnce], storageClassName: z, resources: {requests: {storage: 1Gi}}}}",
			fields: []string{"spec"}, says: "never makes a PersistentVolumeClaim anew",
		},
		"data of an immutable ConfigMap": {
			before: "{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, immutable: true, data: {a: b}}",
			after:  "{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, immutable: true, data: {a: c}}",
			fields: []string{"data"}, says: "plumb.dev/replace: allowed",
		},
		"type of a Secret, without its data": {
			before: "{apiVersion: v1, kind: Secret, metadata: {name: a}, type: a/b, stringData: {k: canary}}",
			after:  "{apiVersion: v1, kind: Secret, metadata: {name: a}, type: a/c, stringData: {k: canary}}",
			fields: []string{"type"}, says: "plumb.dev/replace: allowed",
		},
		"role of a binding": {
			before: "{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: a}, roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: a}}",
			after:  "{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: a}, roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: b}}",
			fields: []string{"roleRef"}, says: "plumb.dev/replace: allowed",
		},
		"what is wrong in a new object too": {
			before: "{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {ports: [{port: 1}]}}",
			after:  "{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {ports: [{port: 99999}]}}",
		},
		"what cannot change, and what is wrong as well": {
			before: "{apiVersion: batch/v1, kind: Job, metadata: {name: a}, spec: {suspend: true, " + pod("Never", "a") + "}}",
			after:  "{apiVersion: batch/v1, kind: Job, metadata: {name: a}, spec: {suspend: true, parallelism: -1, " + pod("Never", "b") + "}}",
		},
	}
	c, _ := own(t)
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			namespace := kubetest.Start(t).Namespace(t)
			apply(t, c, in(namespace, manifests(t, tt.before)[0]))
			_, err := c.Apply(t.Context(), in(namespace, manifests(t, tt.after)[0]), cluster.ApplyOptions{})
			class, _ := fault.ClassOf(err)
			if err == nil || class != fault.Permanent || strings.Contains(err.Error(), "canary") {
				t.Fatalf("got %v", err)
			}
			var immutable *cluster.ImmutableError
			if is := errors.As(err, &immutable); is != (tt.fields != nil) || is != errors.Is(err, cluster.ErrImmutable) {
				t.Fatalf("got %v", err)
			}
			if immutable == nil {
				return
			}
			if diff := cmp.Diff(tt.fields, immutable.Fields); diff != "" || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%v %s", err, diff)
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("more than a line: %v", err)
			}
		})
	}
}
