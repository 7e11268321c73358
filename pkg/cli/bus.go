package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/plumb-gitops/plumb/pkg/bus"
	"github.com/plumb-gitops/plumb/pkg/config"
	"github.com/plumb-gitops/plumb/pkg/telemetry"
)

func newBus(Env) *cobra.Command {
	c := &cobra.Command{
		Use:     "bus",
		Short:   "Look after the streams in NATS",
		Example: "  plumb bus apply --config plumb.yaml",
		Args:    cobra.NoArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newBusApply())
	return c
}

func newBusApply() *cobra.Command {
	var file string
	c := &cobra.Command{
		Use:   "apply --config FILE",
		Short: "Give the streams the age, size and replicas that this version has",
		Long: `Create the streams and buckets that are missing, and change the age, size,
duplicate window and replica count of those that differ. Services only warn about
such differences: their accounts may not change streams, so this is run with
credentials that may. Nothing is deleted; what differs otherwise is an error.

"plumb up" does this by itself for the NATS server that it embeds.`,
		Example: `  plumb bus apply --config plumb.yaml     # uses its nats section`,
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			conf, err := loadFor(file, "nats")
			if err != nil {
				return err
			}
			if conf.NATS.URL == "" {
				return fmt.Errorf("%s: nats.url: is empty; name the NATS server, the one inside plumb up looks after itself", file)
			}
			log, err := telemetry.Logger(c.ErrOrStderr(), "text", "error")
			if err != nil {
				return err
			}
			b, err := bus.Open(c.Context(), bus.Options{
				URL: conf.NATS.URL, CredentialsFile: conf.NATS.CredentialsFile, Replicas: conf.NATS.Replicas, Cluster: conf.Cluster, Log: log,
			})
			if err != nil {
				return err
			}
			defer b.Close()
			changed, err := b.Apply(c.Context())
			for _, line := range changed {
				fmt.Fprintln(c.OutOrStdout(), "changed", line)
			}
			if err == nil && len(changed) == 0 {
				fmt.Fprintln(c.OutOrStdout(), "all streams are as they should be")
			}
			return err
		},
	}
	c.Flags().StringVar(&file, "config", "", "configuration `file`")
	return c
}

func loadFor(file string, sections ...string) (config.Config, error) {
	if file == "" {
		return config.Config{}, fmt.Errorf("name the configuration with --config; %w", errUsage)
	}
	return config.Load(file, sections...)
}
