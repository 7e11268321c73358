package acceptance

import (
	"context"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

const namespace = "trial"

var create, read, remove = metav1.CreateOptions{}, metav1.GetOptions{}, metav1.DeleteOptions{}

func makeNamespace(t *testing.T, c kubernetes.Interface) {
	t.Helper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}
	if _, err := c.CoreV1().Namespaces().Create(t.Context(), ns, create); err != nil {
		t.Fatal(err)
	}
}

func podTemplate(app, image string) corev1.PodTemplateSpec {
	return corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": app}},
		Spec: corev1.PodSpec{
			Containers: []corev1.Container{{Name: "main", Image: image}},
			// The namespace controller waits for half of it before it looks again.
			TerminationGracePeriodSeconds: new(int64),
		},
	}
}

// makeDeployment runs three pods of an image, whose name decides their fate.
func makeDeployment(t *testing.T, c kubernetes.Interface, name, image string) {
	t.Helper()
	replicas := int32(3)
	d := &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas,
			Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": name}},
			Template: podTemplate(name, image),
		},
	}
	if _, err := c.AppsV1().Deployments(namespace).Create(t.Context(), d, create); err != nil {
		t.Fatal(err)
	}
}

func makeJob(t *testing.T, c kubernetes.Interface, name, image string) {
	t.Helper()
	pods := podTemplate(name, image)
	pods.Spec.RestartPolicy = corev1.RestartPolicyNever
	retries := int32(0)
	job := &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       batchv1.JobSpec{Template: pods, BackoffLimit: &retries},
	}
	if _, err := c.BatchV1().Jobs(namespace).Create(t.Context(), job, create); err != nil {
		t.Fatal(err)
	}
}

func makeClaim(t *testing.T, c kubernetes.Interface) {
	t.Helper()
	claim := &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Name: "data"},
		Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Resources: corev1.VolumeResourceRequirements{
				Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")},
			},
		},
	}
	if _, err := c.CoreV1().PersistentVolumeClaims(namespace).Create(t.Context(), claim, create); err != nil {
		t.Fatal(err)
	}
}

func podsReady(t *testing.T, c kubernetes.Interface, name string) {
	t.Helper()
	eventually(t, "three pods of "+name+" Ready", 30*time.Second, func(ctx context.Context) (bool, error) {
		d, err := c.AppsV1().Deployments(namespace).Get(ctx, name, read)
		return err == nil && d.Status.ReadyReplicas == 3, err
	})
}

func jobEnds(t *testing.T, c kubernetes.Interface, name string, how batchv1.JobConditionType) {
	t.Helper()
	eventually(t, "job "+name+" "+string(how), 30*time.Second, func(ctx context.Context) (bool, error) {
		j, err := c.BatchV1().Jobs(namespace).Get(ctx, name, read)
		if err != nil {
			return false, err
		}
		for _, condition := range j.Status.Conditions {
			if condition.Type == how && condition.Status == corev1.ConditionTrue {
				return true, nil
			}
		}
		return false, nil
	})
}

func claimBinds(t *testing.T, c kubernetes.Interface) {
	t.Helper()
	eventually(t, "the claim bound", 30*time.Second, func(ctx context.Context) (bool, error) {
		p, err := c.CoreV1().PersistentVolumeClaims(namespace).Get(ctx, "data", read)
		return err == nil && p.Status.Phase == corev1.ClaimBound, err
	})
}

// podsWait expects three pods that wait for the reason, and, a second later, the same pods in the same state:
// a fate that is written again and again would keep the API server busy.
func podsWait(t *testing.T, c kubernetes.Interface, name, reason string) {
	t.Helper()
	var versions string
	eventually(t, "three pods of "+name+" in "+reason, 30*time.Second, func(ctx context.Context) (bool, error) {
		var n int
		var err error
		versions, n, err = waiting(ctx, c, name, reason)
		return n == 3, err
	})
	time.Sleep(time.Second)
	if again, _, err := waiting(t.Context(), c, name, reason); again != versions {
		t.Errorf("pods of %s moved from %s to %s (%v)", name, versions, again, err)
	}
}

func waiting(ctx context.Context, c kubernetes.Interface, name, reason string) (versions string, n int, err error) {
	pods, err := c.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: "app=" + name})
	if err != nil {
		return "", 0, err
	}
	for _, p := range pods.Items {
		for _, s := range p.Status.ContainerStatuses {
			if s.State.Waiting != nil && s.State.Waiting.Reason == reason {
				n++
				versions += p.Name + "@" + p.ResourceVersion + " "
			}
		}
	}
	return versions, n, nil
}

func namespaceGoes(t *testing.T, c kubernetes.Interface) {
	t.Helper()
	if err := c.CoreV1().Namespaces().Delete(t.Context(), namespace, remove); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the namespace gone", 60*time.Second, func(ctx context.Context) (bool, error) {
		_, err := c.CoreV1().Namespaces().Get(ctx, namespace, read)
		return apierrors.IsNotFound(err), err
	})
	eventually(t, "its volumes gone too", 60*time.Second, func(ctx context.Context) (bool, error) {
		volumes, err := c.CoreV1().PersistentVolumes().List(ctx, metav1.ListOptions{})
		return err == nil && len(volumes.Items) == 0, err
	})
}
