"""Which columns say the same? Groups of datasets that rank the nets alike."""

import numpy as np
from scipy.cluster import hierarchy
from scipy.spatial.distance import squareform

from toolkit.stats.resampling import Floats, Ints


def groups(rho: Floats, least: float) -> tuple[Ints, Ints]:
    """The group of each of k columns with correlations ``rho`` (k, k), and an order that sets like by like; both (k,).

    Complete linkage on 1 - rho: any two columns of a group correlate by ``least`` or more. Groups are numbered in the
    order of their first column. What has no correlation counts as 0.
    """
    distance = 1 - np.nan_to_num(rho)
    np.fill_diagonal(distance, 0)
    tree = hierarchy.linkage(squareform((distance + distance.T) / 2, checks=False), "complete", optimal_ordering=False)
    labels = hierarchy.fcluster(tree, 1 - least + 1e-9, "distance")
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse] + 1, hierarchy.leaves_list(tree).astype(np.int64)
