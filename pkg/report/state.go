package report

import (
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/policy"
	eventsv1 "github.com/plumb-gitops/plumb/proto/plumb/events/v1"
)

// State is what plumb_apps holds of an Application, from its spec and status.
func State(cluster string, a *v1alpha1.Application, now time.Time) *eventsv1.ApplicationState {
	s := &eventsv1.ApplicationState{
		Cluster: cluster, Namespace: a.Namespace, Name: a.Name,
		Repo: a.Spec.Source.Repo, Ref: a.Spec.Source.Ref, Path: a.Spec.Source.Path,
		Revision: a.Status.Revision, Suspended: policy.Suspended(a, now), Requested: a.Status.Requested,
		Synced: condition(a, v1alpha1.ConditionSynced), Healthy: condition(a, v1alpha1.ConditionHealthy),
		Drifted:   condition(a, v1alpha1.ConditionDrifted),
		UpdatedAt: timestamppb.New(now), CreatedAt: timestamppb.New(a.CreationTimestamp.Time),
	}
	if ready := meta.FindStatusCondition(a.Status.Conditions, v1alpha1.ConditionReady); ready != nil {
		s.Ready, s.Reason, s.Message = string(ready.Status), ready.Reason, ready.Message
	}
	if last := a.Status.LastAttempt; last != nil {
		s.Attempt, s.Result, s.Trace, s.Examined = last.Number, string(last.Result), last.Trace, last.Revision
	}
	if r := a.Status.Resources; r != nil {
		s.Resources = &eventsv1.Resources{Total: r.Total, Healthy: r.Healthy, Progressing: r.Progressing, Degraded: r.Degraded}
	}
	return s
}

func condition(a *v1alpha1.Application, kind string) string {
	if c := meta.FindStatusCondition(a.Status.Conditions, kind); c != nil {
		return string(c.Status)
	}
	return string(metav1.ConditionUnknown)
}

// Finished is the fact that the newest attempt ended, from the status alone; nil
// when it has not. What only the attempt itself knew, its objects and stages, is
// left out.
func Finished(cluster string, a *v1alpha1.Application) *eventsv1.SyncFinished {
	last := a.Status.LastAttempt
	if last == nil || last.Result == v1alpha1.ResultRunning || last.Result == v1alpha1.ResultWaiting {
		return nil
	}
	f := &eventsv1.SyncFinished{
		Cluster: cluster, Namespace: a.Namespace, Name: a.Name, Attempt: last.Number, Reason: last.Reason,
		Revision: last.Revision, Result: string(last.Result), Message: last.Message, Repo: a.Spec.Source.Repo,
	}
	if last.Duration != nil {
		f.Duration = durationpb.New(last.Duration.Duration)
	}
	if ready := meta.FindStatusCondition(a.Status.Conditions, v1alpha1.ConditionReady); ready != nil && last.Result == v1alpha1.ResultFailed {
		f.ErrorReason = ready.Reason
	}
	return f
}
