"""A bake cut into units of work that other machines do: pods, jobs of a cluster, jobs of a CI."""
