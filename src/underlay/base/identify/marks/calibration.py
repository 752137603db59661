"""How sure answers by marks are, made by tools/fit_base_confidence.py: do not edit."""

from __future__ import annotations

# How often the known base was the image's all the same (its name, its repository) when a seam, or a pause of a
# day, lies above it (exact: it is a known build); how often a root is what its own steps say.
SEAM_ABOVE = (0.0222, 0.1331)
PAUSE_ABOVE = (0.6507, 0.7354)
PAUSE_ABOVE_EXACT = (0.8365, 0.8503)
ROOT_SAID = (0.7864, 0.8)
# Kind of answer: score of marks, share of right names; both rising.
NAME: dict[str, tuple[tuple[float, float], ...]] = {
    "marks official new version": ((0.7634, 0.4223), (0.926, 0.6801), (1.0578, 0.8099)),
    "marks official new plain": ((0.7536, 0.4431), (0.907, 0.5478), (1.0, 0.72), (1.1127, 0.7694)),
    "marks official old version": (
        (0.9215, 0.256),
        (1.0201, 0.3902),
        (1.1177, 0.4857),
        (1.1817, 0.6364),
        (1.2571, 0.6891),
        (1.3355, 0.7603),
    ),
    "marks official old plain": ((0.9801, 0.1465), (1.23, 0.24)),
    "marks other new version": (
        (0.7122, 0.4048),
        (0.8512, 0.4285),
        (0.9351, 0.4507),
        (1.0017, 0.4632),
        (1.0989, 0.5366),
        (1.1868, 0.5366),
        (1.2597, 0.6602),
        (1.3314, 0.7649),
    ),
    "marks other new plain": (
        (0.7122, 0.4048),
        (0.8512, 0.4285),
        (0.9351, 0.4507),
        (1.0017, 0.4632),
        (1.0989, 0.5366),
        (1.1868, 0.5366),
        (1.2597, 0.6602),
        (1.3314, 0.7649),
    ),
    "marks other old version": (
        (0.7122, 0.4048),
        (0.8512, 0.4285),
        (0.9351, 0.4507),
        (1.0017, 0.4632),
        (1.0989, 0.5366),
        (1.1868, 0.5366),
        (1.2597, 0.6602),
        (1.3314, 0.7649),
    ),
    "marks other old plain": (
        (0.7122, 0.4048),
        (0.8512, 0.4285),
        (0.9351, 0.4507),
        (1.0017, 0.4632),
        (1.0989, 0.5366),
        (1.1868, 0.5366),
        (1.2597, 0.6602),
        (1.3314, 0.7649),
    ),
    "steps official new version": ((0.995, 0.7782), (1.0539, 0.7782)),
    "steps official new plain": ((0.9925, 0.7754), (1.0442, 0.8)),
    "steps official old version": ((0.9925, 0.7754), (1.0442, 0.8)),
    "steps official old plain": ((0.9925, 0.7754), (1.0442, 0.8)),
    "steps other new version": ((0.9925, 0.7754), (1.0442, 0.8)),
    "steps other new plain": ((0.9925, 0.7754), (1.0442, 0.8)),
    "steps other old version": ((0.9925, 0.7754), (1.0442, 0.8)),
    "steps other old plain": ((0.9925, 0.7754), (1.0442, 0.8)),
    "agreed": ((0.565, 0.1958), (0.756, 0.4821), (0.8466, 0.7162), (0.9568, 0.7522)),
}
# The same for repositories.
FAMILY: dict[str, tuple[tuple[float, float], ...]] = {
    "marks official new version": ((0.7288, 0.6703), (0.8865, 0.8698), (0.9585, 0.8698), (1.06, 0.9091)),
    "marks official new plain": (
        (0.7019, 0.6866),
        (0.8338, 0.7761),
        (0.913, 0.8825),
        (0.9595, 0.8825),
        (1.0575, 0.9189),
    ),
    "marks official old version": ((0.8437, 0.6956), (1.0878, 0.9184), (1.2685, 0.9184)),
    "marks official old plain": ((0.8338, 0.8), (1.1417, 0.8)),
    "marks other new version": (
        (0.7123, 0.7119),
        (0.8513, 0.8559),
        (1.0013, 0.929),
        (1.1304, 0.9327),
        (1.2675, 0.9327),
    ),
    "marks other new plain": ((0.7123, 0.7119), (0.8513, 0.8559), (1.0013, 0.929), (1.1304, 0.9327), (1.2675, 0.9327)),
    "marks other old version": (
        (0.7123, 0.7119),
        (0.8513, 0.8559),
        (1.0013, 0.929),
        (1.1304, 0.9327),
        (1.2675, 0.9327),
    ),
    "marks other old plain": ((0.7123, 0.7119), (0.8513, 0.8559), (1.0013, 0.929), (1.1304, 0.9327), (1.2675, 0.9327)),
    "steps official new version": ((1.0119, 0.8696),),
    "steps official new plain": ((1.0128, 0.88),),
    "steps official old version": ((1.0128, 0.88),),
    "steps official old plain": ((1.0128, 0.88),),
    "steps other new version": ((1.0128, 0.88),),
    "steps other new plain": ((1.0128, 0.88),),
    "steps other old version": ((1.0128, 0.88),),
    "steps other old plain": ((1.0128, 0.88),),
    "agreed": ((0.4684, 0.3395), (0.5618, 0.5845), (0.6153, 0.6342), (0.737, 0.7999), (0.9344, 0.8571)),
}
