"""EC2's data source without its check of the machine's DMI, which a container does not show."""

from cloudinit import sources
from cloudinit.sources import DataSourceEc2


class DataSourceEc2Sim(DataSourceEc2.DataSourceEc2):
    """Asks the metadata service as an instance of AWS does."""

    dsname = "Ec2"

    @property
    def cloud_name(self):
        """The cloud that everything else follows from."""
        return DataSourceEc2.CloudNames.AWS


def get_datasource_list(depends):
    """The data sources of this module that need no more than ``depends``."""
    return sources.list_from_depends(depends, [(DataSourceEc2Sim, (sources.DEP_FILESYSTEM, sources.DEP_NETWORK))])
