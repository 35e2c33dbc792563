"""The trust agent: the policy enforcement point beside a datastation's register."""
